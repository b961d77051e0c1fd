"""The encoder's product, ``x @ weightᵀ + bias``, a block at a time, in the fastest precision of the machine.

With matrix units (AMX, tensor cores) bf16 is an order of magnitude faster than fp32; without them it is as much slower.
``fastest`` times both once; a run records the answer and keeps it when it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops.room import room

WIDTH = 4096  # features in a tile
PADDING = 8  # columns for the bias: vector units take bf16 numbers in pairs, and rows that are not aligned are slower
BLOCK = 3 << 20  # scores in one block: 6 MB of bf16, so that selection finds them in the cache


@cache
def fastest(device: str = "cpu") -> torch.dtype:
    """``torch.bfloat16`` if its product is at least 1.5 times as fast as fp32's here, else ``torch.float32``.

    On CUDA nothing is timed: devices with matrix units for bf16 have it from compute capability 8 on.
    """
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    a, b = torch.randn(512, 512, device=device), torch.randn(2048, 512, device=device)
    dtypes = (torch.float32, torch.bfloat16)
    took = dict.fromkeys(dtypes, float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one thread and its own clock: a busy machine must not decide
    try:
        for attempt in range(8):
            for dtype in dtypes:
                left, right = a.to(dtype), b.to(dtype)
                began = time.thread_time()
                (left @ right.T).sum().item()
                if attempt > 1:
                    took[dtype] = min(took[dtype], time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return torch.bfloat16 if took[torch.bfloat16] * 1.5 < took[torch.float32] else torch.float32


def precision(name: str | None, device: str = "cpu") -> torch.dtype:
    """The dtype that ``"bfloat16"``, ``"float32"`` or None (the fastest here) names."""
    return fastest(device) if name is None else getattr(torch, name)


def blocks(
    x: Float[Tensor, "n d"],
    weight: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " n_features"],
    dtype: torch.dtype,
    size: int = BLOCK,
) -> Iterator[tuple[int, Float[Tensor, "block n_features"]]]:
    """The scores ``x @ weightᵀ + bias`` in ``dtype``, without a gradient, as (first row, block of about ``size``).

    All blocks share one piece of memory: a block is gone when the next is asked for.
    """
    rows = max(1, size // len(weight))
    right, offset = weight.detach().to(dtype).T, bias.detach().to(dtype)
    space = room(min(rows, len(x)), len(weight), dtype=dtype, device=x.device)
    for first in range(0, len(x), rows):
        some = x[first : first + rows].detach().to(dtype)
        yield first, torch.addmm(offset, some, right, out=space[: len(some)])


class Tile(NamedTuple):
    """The scores of some rows for some features; the first of each; the rows as the product reads them."""

    row: int
    feature: int
    scores: Float[Tensor, "rows features"]
    x: Float[Tensor, "rows d"]


def tiles(
    x: Float[Tensor, "n d"],
    weight: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " n_features"],
    dtype: torch.dtype,
    width: int = WIDTH,
    size: int = BLOCK,
) -> Iterator[Tile]:
    """The same scores in tiles, all rows of a block of features first: each weight is brought into the cache once.

    A tile has about ``size`` scores, of at most ``width`` features. It is wide by default, for what selects among its
    scores has a cost for every row of it, and small enough to be found in the cache. The bias travels as one more
    column of the weights: adding it to a product takes longer than the product's own share of it.

    All tiles share one piece of memory: a tile is gone when the next is asked for.
    """
    n, features = len(x), len(weight)
    width = min(features, width)
    parts = max(1, round(n * width / size))
    height = max(1, -(-n // parts))  # no small tile at the end
    left = _operand(x, 1, dtype) if width < features else None  # with one block of features each row is read once
    space = room(min(n, height) * width, dtype=dtype, device=x.device)
    for feature in range(0, features, width):
        some_features = slice(feature, feature + width)
        block = _operand(weight[some_features], bias[some_features], dtype).T
        for row in range(0, max(n, 1), height):  # of no rows one empty tile
            at = slice(row, row + height)
            some = _operand(x[at], 1, dtype) if left is None else left[at]
            scores = space[: len(some) * block.shape[1]].view(len(some), block.shape[1])
            yield Tile(row, feature, torch.mm(some, block, out=scores), some[:, : x.shape[1]])


def _operand(rows: Tensor, last: Tensor | float, dtype: torch.dtype) -> Tensor:
    """``rows`` and one more column, padded to an even width: ``x, 1`` times ``weight, bias`` is all."""
    n, d = rows.shape
    made = room(n, d + PADDING, dtype=dtype, device=rows.device)
    made[:, :d], made[:, d], made[:, d + 1 :] = rows, last, 0
    return made
