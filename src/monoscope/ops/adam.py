"""Adam (Kingma & Ba 2015) for matrices with a row per feature, in one pass over memory.

Rows may be held to unit norm: then the part of the gradient along a row is removed *before* the moments are updated,
and the row is renormalised after the step (as in *Towards Monosemanticity*; leaving out either one is a known bug).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from monoscope.ops import devices
from monoscope.ops.kernels import parallel

BETAS = (0.9, 0.999)
EPSILON = 1e-8
# Of moments: what is smaller is 0. The first of a feature that gets no gradient would stay below it for ever, where an
# operation takes a processor a hundred times as long.
LEAST = np.finfo(np.float32).tiny


def reference(
    weight: Float[Tensor, "n d"],
    gradient: Float[Tensor, "n d"],
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "n d"],
    *,
    step: int,
    rate: float,
    betas: tuple[float, float] = BETAS,
    epsilon: float = EPSILON,
    scale: float | Float[Tensor, ""] = 1.0,
    unit_rows: bool = False,
) -> None:
    """One step in plain torch; see ``adam``."""
    gradient = gradient * scale
    if unit_rows:
        gradient = gradient - (gradient * weight).sum(1, keepdim=True) * weight
    first.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    root = (second / (1 - betas[1] ** step)).sqrt_().add_(epsilon)
    weight.sub_(rate / (1 - betas[0] ** step) * first / root)
    if unit_rows:
        weight.div_(weight.norm(dim=1, keepdim=True).clamp_min(1e-12))


def adam(
    weight: Float[Tensor, "n d"],
    gradient: Float[Tensor, "n d"],
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "n d"],
    *,
    step: int,
    rate: float,
    betas: tuple[float, float] = BETAS,
    epsilon: float = EPSILON,
    scale: float | Float[Tensor, ""] = 1.0,
    unit_rows: bool = False,
) -> None:
    """One Adam step in place.

    Args:
        weight, gradient, first, second: the parameter, its gradient and Adam's two moments, alike in shape.
        step: 1 for the first step (bias correction).
        rate: learning rate.
        betas: how much of each moment is kept a step.
        epsilon: what is added to the root of the second moment.
        scale: multiplies the gradient first (global-norm clipping). A tensor spares a wait for the device it is on.
        unit_rows: hold the rows to unit norm.
    """
    tensors = (weight, gradient, first, second)
    how: Any = {"step": step, "rate": rate, "betas": betas, "epsilon": epsilon, "scale": scale, "unit_rows": unit_rows}
    if devices.on_cuda(*tensors) and all(t.dtype == torch.float32 and t.is_contiguous() for t in tensors):
        from monoscope.ops.triton_kernels import adam as on_device

        on_device.adam(*tensors, **how)
        return
    if weight.ndim != 2 or any(
        t.device.type != "cpu" or t.dtype != torch.float32 or not t.is_contiguous() for t in tensors
    ):
        reference(*tensors, **how)
        return
    _adam(
        weight.numpy(), gradient.numpy(), first.numpy(), second.numpy(), *map(np.float32, betas), np.float32(epsilon),
        np.float32(scale), np.float32(rate / (1 - betas[0] ** step)), np.float32(1 / (1 - betas[1] ** step)), unit_rows,
    )  # fmt: skip


@parallel(fastmath={"contract", "reassoc"})
def _adam(weight, gradient, first, second, b1, b2, epsilon, scale, rate, correction, unit_rows):  # type: ignore[no-untyped-def]
    one, zero = np.float32(1), np.float32(0)
    for i in prange(weight.shape[0]):
        along = np.float32(0)
        if unit_rows:
            for j in range(weight.shape[1]):
                along += gradient[i, j] * weight[i, j]
        squares = np.float32(0)
        for j in range(weight.shape[1]):
            g = (gradient[i, j] - along * weight[i, j]) * scale
            m = b1 * first[i, j] + (one - b1) * g
            v = b2 * second[i, j] + (one - b2) * g * g
            first[i, j] = zero if abs(m) < LEAST else m
            second[i, j] = zero if v < LEAST else v
            w = weight[i, j] - rate * m / (np.sqrt(v * correction) + epsilon)
            weight[i, j] = w
            squares += w * w
        if unit_rows:
            inverse = one / max(np.sqrt(squares), np.float32(1e-12))
            for j in range(weight.shape[1]):
                weight[i, j] *= inverse
