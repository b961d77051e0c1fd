"""What a row takes of a pursuit on one thread, with the Gram matrix of all atoms and without it, on made-up rows.

    python benchmarks/bench_pursuit.py [--sizes 384x3072,512x8192,768x65536 --rows 1024 --k 32]

Rows are sums of k random unit atoms, each by an amount from 0.5 to 1.5, and some noise. Milliseconds are the
processor's, and those of the Gram matrix stand apart, for a batch shares them. Non-negative pursuit goes down to a
quarter: near the smallest amount, so it picks about as many. Of many rows it has the matrix here even where it would
have none, because products in bf16 are fast. Rows alone, of the first 32, have no matrix made for them; with one they
are those of a dictionary that was made ready.
"""

from __future__ import annotations

import time
from typing import Any

import numba
import torch
from cyclopts import App

from monoscope.ops import nonnegative, pursuit

app = App(help=__doc__)
FLOOR = 0.25
ALONE = 32  # rows


@app.default
def main(*, sizes: str = "384x3072,512x8192,768x65536", rows: int = 1024, k: int = 32) -> None:
    """Print milliseconds a row of both pursuits, both ways; that these gave the same bits is made sure of."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    ways: dict[str, Any] = {
        "matching_pursuit": lambda x, atoms: pursuit.pursue(x, atoms, k),
        "nonnegative_pursuit": lambda x, atoms: nonnegative.pursue(x, atoms, FLOOR, 8 * k),
    }
    for way in ways.values():  # compiles
        x, atoms = _made(64, 16, 64, 2)
        _without(way, x, atoms), _with(way, x, atoms)
    for size in sizes.split(","):
        width, features = (int(n) for n in size.split("x"))
        x, atoms = _made(rows, width, features, k)
        small = features**2 <= pursuit.LARGEST
        matrix = f"Gram matrix {1e3 * _spent(pursuit.gram_matrix, atoms)[0]:,.0f} ms" if small else "no Gram matrix"
        print(f"{width} numbers, {features:,} features, k {k}, {rows} rows; {matrix}")
        for name, way in ways.items():
            afresh, alone, found = _without(way, x, atoms)
            print(f"  {name:20} without it {1e3 * afresh:8.3f} ms a row, {1e3 * alone:8.3f} a row alone", end="")
            if small:
                held, ready, same = _with(way, x, atoms)
                assert all(torch.equal(a, b) for a, b in zip(found, same, strict=True))
                print(f"; with it {1e3 * held:8.3f}, {1e3 * ready:8.3f} alone", end="")
            print(f"; {int((found[0] >= 0).sum()) / rows:.1f} picked")


def _made(rows: int, width: int, features: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(features, width, generator=generator))
    at = torch.randint(0, features, (rows, k), generator=generator)
    amounts = 0.5 + torch.rand(rows, 1, k, generator=generator)
    noise = 0.5 * torch.randn(rows, width, generator=generator) / width**0.5
    return (amounts @ atoms[at]).squeeze(1) + noise, atoms


def _without(way: Any, x: torch.Tensor, atoms: torch.Tensor) -> tuple[float, float, Any]:
    """Seconds a row without a Gram matrix, of all rows together and of some one after the other; what was found."""
    allowed, pursuit.LARGEST = pursuit.LARGEST, 0
    try:
        return _each(way, x, atoms)
    finally:
        pursuit.LARGEST = allowed


def _with(way: Any, x: torch.Tensor, atoms: torch.Tensor) -> tuple[float, float, Any]:
    """The same where the matrix is kept and made already."""
    pursuit.keep(atoms)
    pursuit.worth_it(atoms, len(atoms), 1)
    allowed, nonnegative.MANY = nonnegative.MANY, len(x) + 1
    try:
        return _each(way, x, atoms)
    finally:
        nonnegative.MANY = allowed
        pursuit.forget(atoms)


def _each(way: Any, x: torch.Tensor, atoms: torch.Tensor) -> tuple[float, float, Any]:
    together, found = _spent(way, x, atoms)
    alone = sum(_spent(way, row, atoms)[0] for row in x[:ALONE].split(1))
    return together / len(x), alone / ALONE, found


def _spent(work: Any, *given: Any) -> tuple[float, Any]:
    began = time.process_time()
    made = work(*given)
    return time.process_time() - began, made


if __name__ == "__main__":
    app()
