"""How many rows a second each architecture codes, on one thread.

    python benchmarks/bench_encode.py --rows ROWS.npy [--architectures all --features 3072 --k 32 --tokens 131072]

Of each architecture a dictionary is trained on the file's rows, its last 8,192 left out, and these are encoded round
after round, all architectures in turns. Seconds are the processor's, so other work counts for little. ``--keep DIR``
keeps the dictionaries, and finds them there the next time: then two versions can be timed on the same ones.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median

import numba
import numpy as np
import torch
from cyclopts import App

import monoscope as ms
from monoscope.app.bench.contenders import chosen
from monoscope.app.bench.machine import header
from monoscope.dictionary.base import Dictionary

HELD_OUT = 8192
app = App(help=__doc__)


@app.default
def main(
    *,
    rows: Path,
    architectures: str = "all",
    features: int = 3072,
    k: int = 32,
    tokens: int = 131_072,
    rounds: int = 5,
    keep: Path | None = None,
    out: Path | None = None,
) -> None:
    """Print rows a second, the median of the rounds with their range, and the L0; with ``--out`` write them too."""
    x = np.load(rows, mmap_mode="r")
    held = torch.from_numpy(x[-HELD_OUT:].astype(np.float32))
    made = {name: _dictionary(name, x[:-HELD_OUT], features, k, tokens, keep) for name in chosen(architectures)}
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    spent: dict[str, list[float]] = {name: [] for name in made}
    l0 = {name: len(d.encode(held).indices) / len(held) for name, d in made.items()}  # compiles
    for _ in range(rounds):
        for name, dictionary in made.items():
            began = time.process_time()
            dictionary.encode(held)
            spent[name].append(HELD_OUT / (time.process_time() - began))
    found = {
        name: {"rows_per_second": median(s), "low": min(s), "high": max(s), "l0": l0[name]} for name, s in spent.items()
    }
    print(f"{x.shape[1]} numbers, {features:,} features, k {k}, {HELD_OUT:,} rows, {rounds} rounds, one thread")
    for name, one in sorted(found.items(), key=lambda pair: -pair[1]["rows_per_second"]):
        print(
            f"{name:20} {one['rows_per_second']:9,.0f}   {one['low']:9,.0f} to {one['high']:9,.0f}   L0 {one['l0']:.1f}"
        )
    if out is not None:
        out.write_text(json.dumps({"machine": header(1), "found": found}, indent=1) + "\n", encoding="utf-8")


def _dictionary(name: str, x: np.ndarray, features: int, k: int, tokens: int, keep: Path | None) -> Dictionary:
    """The one that was kept, or one trained now."""
    folder = None if keep is None else keep / f"{name}-{features}-{k}-{tokens}"
    if folder is not None and folder.exists():
        return ms.load(folder)
    made = ms.fit(np.ascontiguousarray(x[:tokens]), features, name, k=k)
    if folder is not None:
        made.save(folder)
    return made


if __name__ == "__main__":
    app()
