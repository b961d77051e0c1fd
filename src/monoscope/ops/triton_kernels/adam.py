"""Adam in one pass over memory: a program a row where rows are held to unit norm, else one a stretch of numbers."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from monoscope.ops import adam as ops
from monoscope.ops.triton_kernels.launch import WIDEST, launch, warps

STRETCH = 1024


def adam(
    weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor,
    *, step: int, rate: float, betas: tuple[float, float], epsilon: float, scale: float | Tensor, unit_rows: bool,
) -> None:  # fmt: skip
    """See ``adam.adam``. Rows of unit norm too wide for one program take the reference."""
    if unit_rows and weight.shape[1] > WIDEST:
        how: Any = {"step": step, "rate": rate, "betas": betas, "epsilon": epsilon, "scale": scale}
        ops.reference(weight, gradient, first, second, **how, unit_rows=True)
        return
    n, d = weight.shape if unit_rows else (triton.cdiv(weight.numel(), STRETCH), STRETCH)
    factor = scale if isinstance(scale, Tensor) else torch.full((), scale, device=weight.device)
    width = triton.next_power_of_2(d)
    launch(
        _adam, (n,),
        weight, gradient, first, second, factor, rate / (1 - betas[0] ** step), 1 / (1 - betas[1] ** step),
        weight.numel(), d,
        BETA1=betas[0], BETA2=betas[1], EPSILON=epsilon, UNIT_ROWS=unit_rows, WIDTH=width, num_warps=warps(width),
    )  # fmt: skip


@triton.jit
def _adam(  # type: ignore[no-untyped-def]
    weight, gradient, first, second, scale, rate, correction, numbers, d,
    BETA1: tl.constexpr, BETA2: tl.constexpr, EPSILON: tl.constexpr, UNIT_ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, WIDTH)
    at = tl.program_id(0).to(tl.int64) * d + columns
    mine = (columns < d) & (at < numbers)
    w = tl.load(weight + at, mask=mine, other=0)
    g = tl.load(gradient + at, mask=mine, other=0)
    if UNIT_ROWS:
        g -= tl.sum(g * w, axis=0) * w
    g *= tl.load(scale)
    m = BETA1 * tl.load(first + at, mask=mine, other=0) + (1 - BETA1) * g
    v = BETA2 * tl.load(second + at, mask=mine, other=0) + (1 - BETA2) * g * g
    tl.store(first + at, m, mask=mine)
    tl.store(second + at, v, mask=mine)
    w -= rate * m / (tl.sqrt(v * correction) + EPSILON)
    if UNIT_ROWS:
        w /= tl.maximum(tl.sqrt(tl.sum(w * w, axis=0)), 1e-12)
    tl.store(weight + at, w, mask=mine)
