"""Training speed and quality beside SAELens, dictionary_learning and sparsify, on the same rows, in turns.

python benchmarks/bench_peers.py --peers PEERS/bin/python [--features 3072 --k 32 --batch 4096 --steps 24 --rounds 3]
python benchmarks/bench_peers.py --peers … --quality --tokens 819200 --rates 0.001,0.003,0.006

``PEERS`` is a virtual environment that holds torch, sae-lens, dictionary-learning and eai-sparsify; ours needs none of
them. Rows come from ``--rows FILE.npy``, or from a reference model's site (``--model``, ``--site``, ``--text``). All
contenders take turns, round after round, so that a busy machine is busy for all. A peer is timed with and without its
autocast; the faster counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from monoscope.harvest.stream import stream
from monoscope.models import load_model
from monoscope.text import store
from monoscope.text.corpus import open_corpus

CONTENDER = Path(__file__).parent / "peers" / "contender.py"
CONTENDERS = [
    "monoscope:topk",
    "saelens:topk",
    "dictionary_learning:topk",
    "sparsify:topk",
    "monoscope:batch_topk",
    "saelens:batch_topk",
    "dictionary_learning:batch_topk",
]
HELD_OUT = 32_768
app = App(help=__doc__)


def harvest(model: str, site: str, text: str, n: int, path: Path) -> None:
    """Write ``n`` rows of the site, in random order, as fp32."""
    lm = load_model(model)
    with tempfile.TemporaryDirectory() as folder:
        held = store.build((("all", d) for d in open_corpus(text)), lm.tokeniser, Path(folder) / "text")
        parts, count = [], 0
        for block in stream(lm, held, held.documents("all"), [site]):
            parts.append(block.values[site].float().numpy())
            count += len(block)
            if count >= n:
                break
    rows = np.concatenate(parts)[:n]
    np.save(path, rows[np.random.default_rng(0).permutation(len(rows))])


def contend(python: str, name: str, rows: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """One run of one contender in a process of its own."""
    program = sys.executable if name.startswith("monoscope") else python
    command = [program, str(CONTENDER), name, str(rows), json.dumps(setting)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{name} failed:\n{run.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def ways(name: str) -> list[bool]:
    """With autocast or without: ours chooses for itself."""
    return [False] if name.startswith("monoscope") else [False, True]


def speed(python: str, rows: Path, setting: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Rows per second of every contender and way, of the median step, in turns."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in CONTENDERS:
            for autocast in ways(name):
                seen = contend(python, name, rows, {**setting, "autocast": autocast})
                found.setdefault(f"{name}{' autocast' if autocast else ''}", []).append(
                    setting["batch"] / seen["median"]
                )
    return {name: {"rows_per_second": median(values), "rounds": values} for name, values in found.items()}


def quality(python: str, rows: Path, setting: dict[str, Any], rates: list[float], names: list[str]) -> dict[str, Any]:
    """FVU on rows that were not trained on, for every contender at every learning rate, in fp32."""
    return {
        name: {
            str(rate): contend(python, name, rows, {**setting, "rate": rate, "autocast": False})["fvu"]
            for rate in rates
        }
        for name in names
    }


def print_speed(found: dict[str, Any], title: str) -> None:
    """A line for each, with how many times as fast ours is."""
    table = Table(title=title)
    table.add_column("trainer", no_wrap=True)
    for column in ("rows/s", "ours is faster by"):
        table.add_column(column, justify="right")
    for name, values in found.items():
        ours = found[f"monoscope:{name.split(':')[1].split()[0]}"]["rows_per_second"]
        mine = name.startswith("monoscope")
        table.add_row(
            name, f"{values['rows_per_second']:,.0f}", "" if mine else f"{ours / values['rows_per_second']:.1f}×"
        )
    Console(width=100).print(table)


@app.default
def main(
    *,
    peers: Path,
    rows: Path | None = None,
    model: str = "reference-a",
    site: str = "mlp_act.0",
    text: str = "held_out:python",
    features: int = 3072,
    k: int = 32,
    batch: int = 4096,
    steps: int = 24,
    rounds: int = 3,
    threads: int = 0,
    quality_only: bool = False,
    tokens: int = 819_200,
    rates: str = "0.001,0.003,0.006",
    out: Path | None = None,
) -> None:
    """Time all contenders; with ``--quality-only``, train them whole at several learning rates instead."""
    with tempfile.TemporaryDirectory() as folder:
        path = rows or Path(folder) / "rows.npy"
        if rows is None:
            harvest(model, site, text, max(tokens, 300_000) if quality_only else 300_000, path)
        width = np.load(path, mmap_mode="r").shape[1]
        setting = {
            "features": features, "k": k, "batch": batch, "tokens": tokens if quality_only else steps * batch,
            "rate": 1e-3, "threads": threads, "held_out": HELD_OUT, "untimed": 4,
        }  # fmt: skip
        if quality_only:
            names = [name for name in CONTENDERS if name.endswith(":topk")]
            found = quality(str(peers), path, setting, [float(r) for r in rates.split(",")], names)
            print(json.dumps(found, indent=1))
        else:
            found = speed(str(peers), path, setting, rounds)
            print_speed(found, f"{width} × {features}, k {k}, batch {batch}")
    if out is not None:
        facts = {"date": datetime.now(UTC).date().isoformat(), "width": int(width), **setting, "found": found}
        out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
