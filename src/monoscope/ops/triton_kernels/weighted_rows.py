"""Sums of weighted rows, and inner products of named rows: what decoding, and all gradients of weights, are made of.

A sum belongs to one program, which reads its rows a few at a time and writes once. So there are no atomics, and equal
entries give equal bits. A feature that is active on most rows keeps its program busy for as many turns.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.ops.transpose import ByFeature
from monoscope.ops.triton_kernels.launch import launch
from monoscope.types import Code

WIDTH = 256  # columns of one program
ENTRIES = 16  # rows that it has under way at once


def gather(code: Code, w: Float[Tensor, "n_features d"]) -> Float[Tensor, "n d"]:
    """See ``weighted_rows.gather``."""
    return sums_of_rows(code.indices, code.values, code.offsets, w)


def scatter(
    by: ByFeature, values: Float[Tensor, " n_active"], x: Float[Tensor, "n d"]
) -> Float[Tensor, "n_features d"]:
    """See ``weighted_rows.scatter``: the same sums with rows and features turned around."""
    return sums_of_rows(by.rows, values[by.entries], by.offsets, x)


def dots(code: Code, x: Float[Tensor, "n d"], w: Float[Tensor, "n_features d"]) -> Float[Tensor, " n_active"]:
    """See ``weighted_rows.dots``."""
    return dots_of_rows(code.rows(), x, code.indices, w)


def sums_of_rows(
    sources: Int[Tensor, " m"], weights: Float[Tensor, " m"], offsets: Int[Tensor, " n_plus_1"],
    matrix: Float[Tensor, "rows d"],
) -> Float[Tensor, "n d"]:  # fmt: skip
    """``out[i] = Σ weights[e] · matrix[sources[e]]``, summed over the entries ``offsets[i] ≤ e < offsets[i + 1]``."""
    n, d = len(offsets) - 1, matrix.shape[1]
    out = matrix.new_empty(n, d)
    launch(
        _sums_of_rows, (n, triton.cdiv(d, WIDTH)),
        sources.contiguous(), weights.contiguous(), offsets, matrix.contiguous(), out, d,
        ENTRIES=ENTRIES, WIDTH=WIDTH,
    )  # fmt: skip
    return out


def dots_of_rows(
    left: Int[Tensor, " m"], x: Float[Tensor, "n d"], right: Int[Tensor, " m"], w: Float[Tensor, "rows d"]
) -> Float[Tensor, " m"]:
    """``out[e] = x[left[e]] · w[right[e]]``."""
    out = torch.empty(len(left), dtype=torch.promote_types(x.dtype, w.dtype), device=x.device)
    launch(
        _dots_of_rows, (triton.cdiv(len(left), ENTRIES),),
        left.contiguous(), x.contiguous(), right.contiguous(), w.contiguous(), out, len(left), x.shape[1],
        ENTRIES=ENTRIES, WIDTH=WIDTH,
    )  # fmt: skip
    return out


@triton.jit
def weighted_sum(  # type: ignore[no-untyped-def]
    sources, weights, first, last, matrix, d, columns,
    ENTRIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The sum that entries ``first`` to ``last`` make in some columns of ``matrix``; 0 in columns from ``d`` on."""
    total = tl.zeros((WIDTH,), tl.float32)
    for begin in range(first, last, ENTRIES):
        entry = begin + tl.arange(0, ENTRIES)
        mine = entry < last
        row = tl.load(sources + entry, mask=mine, other=0).to(tl.int64)
        weight = tl.load(weights + entry, mask=mine, other=0).to(tl.float32)
        read = mine[:, None] & (columns < d)[None, :]
        tile = tl.load(matrix + row[:, None] * d + columns[None, :], mask=read, other=0).to(tl.float32)
        total += tl.sum(weight[:, None] * tile, axis=0)
    return total


@triton.jit
def _sums_of_rows(  # type: ignore[no-untyped-def]
    sources, weights, offsets, matrix, out, d,
    ENTRIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    first, last = tl.load(offsets + i), tl.load(offsets + i + 1)
    total = weighted_sum(sources, weights, first, last, matrix, d, columns, ENTRIES, WIDTH)
    tl.store(out + i * d + columns, total, mask=columns < d)


@triton.jit
def _dots_of_rows(  # type: ignore[no-untyped-def]
    left, x, right, w, out, m, d,
    ENTRIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    entry = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES)
    mine = entry < m
    a = tl.load(left + entry, mask=mine, other=0).to(tl.int64)
    b = tl.load(right + entry, mask=mine, other=0).to(tl.int64)
    total = tl.zeros((ENTRIES,), tl.float32)
    for begin in range(0, d, WIDTH):
        columns = begin + tl.arange(0, WIDTH)
        read = mine[:, None] & (columns < d)[None, :]
        of_x = tl.load(x + a[:, None] * d + columns[None, :], mask=read, other=0).to(tl.float32)
        of_w = tl.load(w + b[:, None] * d + columns[None, :], mask=read, other=0).to(tl.float32)
        total += tl.sum(of_x * of_w, axis=1)
    tl.store(out + entry, total, mask=mine)
