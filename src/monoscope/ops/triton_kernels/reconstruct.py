"""The squared error in two passes: over rows for residual, error and slopes, over features for gradients of weights.

A program holds one row. It reads the row's directions twice, the second time from the cache.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from monoscope.ops import reconstruct, weighted_rows
from monoscope.ops.transpose import ByFeature
from monoscope.ops.triton_kernels.launch import WIDEST, launch, warps
from monoscope.ops.triton_kernels.weighted_rows import weighted_sum
from monoscope.types import Code

TILE = 8192  # numbers of directions that a program has under way at once


def squared_error(
    x: Tensor, y: Tensor, weights: reconstruct.Weights, code: Code, by: ByFeature
) -> tuple[Tensor, Tensor]:
    """See ``reconstruct.squared_error``. A row too wide for one program takes the separate operations."""
    if y.shape[1] > WIDEST:
        return reconstruct.reference(x, y, weights, code, by)
    error, left = SquaredError.apply(x, y, *weights, code, by)
    return error, left


class SquaredError(torch.autograd.Function):
    """``apply(x, y, w_enc, b_enc, w_dec, b_dec, code, by)``: see ``reconstruct.squared_error``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, w_enc: Tensor, b_enc: Tensor, w_dec: Tensor, b_dec: Tensor,
        code: Code, by: ByFeature,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The error and the residual."""
        n, d = y.shape
        left, slopes = torch.empty_like(y, dtype=torch.float32), torch.empty_like(code.values, dtype=torch.float32)
        squares = torch.empty(n, dtype=torch.float32, device=y.device)
        width = triton.next_power_of_2(d)
        launch(
            _residual, (n,),
            code.indices, code.values, code.offsets, w_dec.contiguous(), b_dec, y.contiguous(),
            left, slopes, squares, d,
            ENTRIES=max(1, min(16, TILE // width)), WIDTH=width, num_warps=warps(max(TILE, width)),
        )  # fmt: skip
        ctx.save_for_backward(x, left, slopes)
        ctx.code, ctx.by = code, by
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)  # of what is left there is none: no batch of zeros in its place
        return (squares.sum(dtype=torch.float64) / y.numel()).float(), left

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of ``y`` and the weights; nothing waits for the device."""
        x, left, slopes = ctx.saved_tensors
        code, by, scale = ctx.code, ctx.by, grads[0] * (-2 / left.numel())
        wants_y, wants_enc, wants_b_enc, wants_dec, wants_b_dec = ctx.needs_input_grad[1:6]
        pulls = slopes * scale
        return (
            None,
            left * -scale if wants_y else None,
            weighted_rows.scatter(by, pulls, x) if wants_enc else None,
            weighted_rows.sums(by, pulls) if wants_b_enc else None,
            weighted_rows.scatter(by, code.values * scale, left) if wants_dec else None,
            left.sum(0) * scale if wants_b_dec else None,
            None,
            None,
        )


@triton.jit
def _residual(  # type: ignore[no-untyped-def]
    indices, values, offsets, w, bias, y, left, slopes, squares, d,
    ENTRIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, WIDTH)
    inside = columns < d
    first, last = tl.load(offsets + i), tl.load(offsets + i + 1)
    made = weighted_sum(indices, values, first, last, w, d, columns, ENTRIES, WIDTH)
    target = tl.load(y + i * d + columns, mask=inside, other=0).to(tl.float32)
    rest = target - made - tl.load(bias + columns, mask=inside, other=0).to(tl.float32)
    tl.store(left + i * d + columns, rest, mask=inside)
    tl.store(squares + i, tl.sum(rest * rest, axis=0))
    for begin in range(first, last, ENTRIES):
        entry = begin + tl.arange(0, ENTRIES)
        mine = entry < last
        f = tl.load(indices + entry, mask=mine, other=0).to(tl.int64)
        tile = tl.load(w + f[:, None] * d + columns[None, :], mask=mine[:, None] & inside[None, :], other=0)
        tl.store(slopes + entry, tl.sum(tile.to(tl.float32) * rest[None, :], axis=1), mask=mine)
