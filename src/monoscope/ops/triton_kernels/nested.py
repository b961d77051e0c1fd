"""The errors of a code that is decoded in stages: a program a row, which goes from stage to stage with its residual."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from monoscope.ops import nested, weighted_rows
from monoscope.ops.transpose import ByFeature
from monoscope.ops.triton_kernels.launch import WIDEST, launch, warps
from monoscope.ops.triton_kernels.reconstruct import TILE
from monoscope.ops.triton_kernels.weighted_rows import dots_of_rows
from monoscope.types import Code


def squared(
    y: Tensor, values: Tensor, weight: Tensor, code: Code, by: ByFeature, stages: Tensor, n_stages: int
) -> tuple[Tensor, Tensor]:
    """See ``nested.squared``. A row too wide for one program is left to autograd."""
    if y.shape[1] > WIDEST:
        return nested.reference(y, values, weight, code, stages, n_stages)
    total, left = Squared.apply(y, values, weight, code, by, stages, n_stages)
    return total, left


class Squared(torch.autograd.Function):
    """``apply(y, values, weight, code, by, stages, n_stages)``: see ``nested.squared``."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, values: Tensor, weight: Tensor, code: Code, by: ByFeature, stages: Tensor, n_stages: int
    ) -> tuple[Tensor, Tensor]:
        """The sum of all stages' errors, and what the last leaves."""
        n, d = y.shape
        rest = torch.empty((n, n_stages, d), dtype=torch.float32, device=y.device)
        squares = torch.empty(n, dtype=torch.float32, device=y.device)
        width = triton.next_power_of_2(d)
        launch(
            _stages, (n,),
            code.indices, values.contiguous(), code.offsets, stages, weight.contiguous(), y.contiguous(), rest, squares,
            d, n_stages,
            ENTRIES=max(1, min(16, TILE // width)), WIDTH=width, num_warps=warps(max(TILE, width)),
        )  # fmt: skip
        ctx.save_for_backward(values, weight, rest.flip(1).cumsum(1).flip(1), stages)
        ctx.code, ctx.by = code, by
        left = rest[:, -1].contiguous()
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)  # of what is left there is none: no batch of zeros in its place
        return squares.sum(dtype=torch.float64).float(), left

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Products with the sums of residuals from each stage on."""
        values, weight, sums, stages = ctx.saved_tensors
        code, by, twice, n_stages = ctx.code, ctx.by, 2 * grads[0], sums.shape[1]
        wants_y, wants_values, wants_weight = ctx.needs_input_grad[:3]
        flat = sums.flatten(0, 1)
        slopes = towards = None
        if wants_values:
            slopes = -twice * dots_of_rows(code.rows() * n_stages + stages, flat, code.indices, weight)
        if wants_weight:
            staged = ByFeature(by.offsets, by.rows * n_stages + stages[by.entries].int(), by.entries)
            towards = weighted_rows.scatter(staged, -twice * values, flat)
        return twice * sums[:, 0] if wants_y else None, slopes, towards, None, None, None, None


@triton.jit
def _stages(  # type: ignore[no-untyped-def]
    indices, values, offsets, stages, w, y, rest, squares, d, n_stages,
    ENTRIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    inside = columns < d
    first, last = tl.load(offsets + i), tl.load(offsets + i + 1)
    left = tl.load(y + i * d + columns, mask=inside, other=0).to(tl.float32)
    square = tl.zeros((WIDTH,), tl.float32)
    for stage in range(n_stages):
        for begin in range(first, last, ENTRIES):
            entry = begin + tl.arange(0, ENTRIES)
            mine = (entry < last) & (tl.load(stages + entry, mask=entry < last, other=-1) == stage)
            f = tl.load(indices + entry, mask=mine, other=0).to(tl.int64)
            v = tl.load(values + entry, mask=mine, other=0).to(tl.float32)
            tile = tl.load(w + f[:, None] * d + columns[None, :], mask=mine[:, None] & inside[None, :], other=0)
            left -= tl.sum(v[:, None] * tile.to(tl.float32), axis=0)
        tl.store(rest + (i * n_stages + stage) * d + columns, left, mask=inside)
        square += left * left
    tl.store(squares + i, tl.sum(square, axis=0))
