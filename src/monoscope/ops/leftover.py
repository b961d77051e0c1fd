"""AuxK's error (Gao et al. 2024): what silent features, each row using its best of them, leave of a residual.

Scores are used raw: a silent feature's score is mostly negative, and a ReLU in between would leave it no gradient.
The products are dense, for most of the few silent features are used by every row; they run in a precision of choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops.kernels import parallel

ROWS = 1024  # whose scores are held at once
Weights = tuple[Float[Tensor, "m d_in"], Float[Tensor, " m"], Float[Tensor, "m d_out"]]  # w_enc, b_enc, w_dec


def reference(
    x: Float[Tensor, "n d_in"], residual: Float[Tensor, "n d_out"], weights: Weights, k: int
) -> Float[Tensor, ""]:
    """The same in plain torch, in the precision of ``x``."""
    w_enc, b_enc, w_dec = weights
    scores = torch.addmm(b_enc, x, w_enc.T)
    values, indices = scores.topk(k, dim=1)
    chosen = torch.zeros_like(scores).scatter(1, indices, values)
    return (residual - chosen @ w_dec).square().sum() / residual.square().sum().clamp_min(1e-12)


def leftover(
    x: Float[Tensor, "n d_in"],
    residual: Float[Tensor, "n d_out"],
    weights: Weights,
    k: int,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, ""]:
    """``Σ (residual − chosen @ w_dec)² / Σ residual²``, with ``chosen`` each row's k largest scores.

    Differentiable in the weights.

    Args:
        x: what the scores ``x @ w_encᵀ + b_enc`` are of.
        residual: what is to be explained.
        weights: ``w_enc, b_enc, w_dec`` of the silent features.
        k: how many of them a row uses.
        dtype: of the operands of all products; sums are fp32.
    """
    found: Tensor = _Leftover.apply(x, residual, *weights, k, dtype)
    return found


class _Leftover(torch.autograd.Function):
    """Makes the gradients on the way forward, few rows at a time, so that the dense scores of a batch never exist."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor, w_enc: Tensor, b_enc: Tensor, w_dec: Tensor, k: int, dtype: torch.dtype
    ) -> Tensor:
        enc, dec = w_enc.to(dtype), w_dec.to(dtype)
        slopes = [torch.zeros_like(t, dtype=torch.float32) for t in (w_enc, b_enc, w_dec)]
        error = residual.new_zeros(())
        whole = residual.square().sum().clamp_min(1e-12)
        for rows, wanted in zip(x.split(ROWS), residual.split(ROWS), strict=True):
            rows = rows.to(dtype)
            scores = (rows @ enc.T).float().add_(b_enc)
            kept = keep_largest(scores, k)
            chosen = scores.to(dtype)
            left = wanted - (chosen @ dec).float()
            error += left.square().sum()
            push = left.mul_(-2 / whole).to(dtype)
            pull = (push @ dec.T).mul_(kept)
            for slope, part in zip(
                slopes, (pull.T @ rows, pull.sum(0, dtype=torch.float32), chosen.T @ push), strict=True
            ):
                slope += part
        ctx.save_for_backward(*slopes)
        return error / whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        enc, bias, dec = (slope * grads[0] for slope in ctx.saved_tensors)
        return None, None, enc, bias, dec, None, None


def keep_largest(scores: Float[Tensor, "n m"], k: int) -> Bool[Tensor, "n m"]:
    """Set all but the k largest entries of every row to 0, in place; returns which those are, of equals the first."""
    if k >= scores.shape[1]:
        return torch.ones_like(scores, dtype=torch.bool)
    if scores.device.type != "cpu" or scores.dtype != torch.float32 or not scores.is_contiguous():
        kept = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.topk(k, dim=1).indices, True)
        scores.mul_(kept)
        return kept
    kept = torch.empty_like(scores, dtype=torch.bool)
    _keep_largest(scores.numpy(), scores.view(torch.int32).numpy(), k, kept.numpy())
    return kept


@njit(inline="always")
def _reach(keys, least):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for key in keys:
        count += np.int32(key >= least)
    return count


@parallel()
def _keep_largest(scores, bits, k, kept):  # type: ignore[no-untyped-def]
    n, m = scores.shape
    for block in prange((n + 31) // 32):
        keys = np.empty(m, np.int32)
        for i in range(block * 32, min(n, block * 32 + 32)):
            for j in range(m):  # integers that order as all floats do
                keys[j] = bits[i, j] ^ ((bits[i, j] >> 31) & np.int32(0x7FFFFFFF))
            low, high = np.int64(keys.min()), np.int64(keys.max())  # at least k keys reach low
            while low < high:
                middle = low + (high - low + 1) // 2
                if _reach(keys, np.int32(middle)) >= k:
                    low = middle
                else:
                    high = middle - 1
            cut = np.int32(low)
            ties = k - (_reach(keys, cut + 1) if low < 2147483647 else 0)
            for j in range(m):
                tied = keys[j] == cut and ties > 0
                kept[i, j] = keys[j] > cut or tied
                ties -= tied
                if not kept[i, j]:
                    scores[i, j] = 0
