"""The limit of every training step: the encoder's product alone, ``x @ w_encᵀ``, in the training's own precision.

Both operands are in that precision already, the output goes into a buffer that is there already and is used again for
every block, and the blocks are of the shape that turns out fastest: nothing that computes all scores can be faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

ROWS, FEATURES = "rows", "features"
Blocking = tuple[str, int]  # which of the two is cut, and into pieces of what size


def blockings(n: int, n_features: int) -> Iterator[Blocking]:
    """The candidates: rows or features in pieces of powers of four, and all at once."""
    yield ROWS, n
    for axis, length in ((ROWS, n), (FEATURES, n_features)):
        yield from ((axis, size) for size in (128, 512, 2048, 8192) if size < length)


def product(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], dtype: torch.dtype, blocking: Blocking
) -> Callable[[], None]:
    """A call that makes all scores, block after block, in one buffer."""
    axis, size = blocking
    left, right = x.to(dtype).contiguous(), weight.to(dtype).contiguous()
    pieces = [(a, right) for a in left.split(size)] if axis == ROWS else [(left, b) for b in right.split(size)]
    room = torch.empty(max(len(a) * len(b) for a, b in pieces), dtype=dtype)
    calls = [(a, b.T, room[: len(a) * len(b)].view(len(a), len(b))) for a, b in pieces]

    def run() -> None:
        for a, b, out in calls:
            torch.mm(a, b, out=out)

    return run


def seconds(call: Callable[[], None], turns: int) -> list[float]:
    """Wall times of so many calls."""
    took = []
    for _ in range(turns):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return took


def fastest(x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], dtype: torch.dtype) -> Blocking:
    """The blocking whose best of three calls is the quickest."""
    took = {b: min(seconds(product(x, weight, dtype, b), 3)) for b in blockings(len(x), len(weight))}
    return min(took, key=lambda b: took[b])
