"""What a row takes of a pursuit on one thread, with the Gram matrix of all atoms and without it, on made-up rows.

    python benchmarks/bench_pursuit.py [--sizes 384x3072,512x8192,768x65536 --rows 1024 --k 32]

Rows are sums of k random unit atoms, each by an amount from 0.5 to 1.5, and some noise. Milliseconds are the
processor's, and those of the Gram matrix stand apart, for a batch shares them. Non-negative pursuit goes down to a
quarter: near the smallest amount, so it picks about as many.
"""

from __future__ import annotations

import time
from typing import Any

import numba
import torch
from cyclopts import App

from monoscope.ops import nonnegative, pursuit
from monoscope.ops.pursuit import gram_matrix

app = App(help=__doc__)
FLOOR = 0.25


@app.default
def main(*, sizes: str = "384x3072,512x8192,768x65536", rows: int = 1024, k: int = 32) -> None:
    """Print milliseconds a row of both pursuits, both ways, and that both ways gave the same bits."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    ways: dict[str, Any] = {
        "matching_pursuit": lambda x, atoms: pursuit.pursue(x, atoms, k),
        "nonnegative_pursuit": lambda x, atoms: nonnegative.pursue(x, atoms, FLOOR, 8 * k),
    }
    for way in ways.values():  # compiles
        x, atoms = _made(64, 16, 64, 2)
        _both(way, x, atoms, 1 << 30, gram_matrix(atoms))
    for size in sizes.split(","):
        width, features = (int(n) for n in size.split("x"))
        x, atoms = _made(rows, width, features, k)
        allowed = pursuit.LARGEST
        matrix, gram = _spent(pursuit.gram_matrix, atoms) if features**2 <= allowed else (0.0, None)
        print(f"{width} numbers, {features:,} features, k {k}, {rows} rows; Gram matrix {1e3 * matrix:,.0f} ms")
        for name, way in ways.items():
            held, afresh, picked = _both(way, x, atoms, allowed, gram)
            beside = f"{1e3 * held / rows:8.3f} with it" if held else "   (it would be too large)"
            print(f"  {name:20} {1e3 * afresh / rows:8.3f} ms a row without, {beside}; {picked / rows:.1f} picked")


def _made(rows: int, width: int, features: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(features, width, generator=generator))
    at = torch.randint(0, features, (rows, k), generator=generator)
    amounts = 0.5 + torch.rand(rows, 1, k, generator=generator)
    noise = 0.5 * torch.randn(rows, width, generator=generator) / width**0.5
    return (amounts @ atoms[at]).squeeze(1) + noise, atoms


def _both(way: Any, x: torch.Tensor, atoms: torch.Tensor, allowed: int, gram: Any) -> tuple[float, float, int]:
    """Seconds with the Gram matrix that was made (0: too large) and without it, and how many atoms were picked."""
    pursuit.gram_matrix = nonnegative.gram_matrix = lambda _: gram
    seconds, found = [], []
    for largest in [0] if gram is None else [allowed, 0]:
        pursuit.LARGEST = nonnegative.LARGEST = largest
        took, made = _spent(way, x, atoms)
        seconds.append(took)
        found.append(made)
    pursuit.LARGEST = nonnegative.LARGEST = allowed
    pursuit.gram_matrix = nonnegative.gram_matrix = gram_matrix
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[-1], strict=True))
    return seconds[0] if len(seconds) > 1 else 0.0, seconds[-1], int((found[0][0] >= 0).sum())


def _spent(work: Any, *given: Any) -> tuple[float, Any]:
    began = time.process_time()
    made = work(*given)
    return time.process_time() - began, made


if __name__ == "__main__":
    app()
