"""A training step's heart: the squared error of a reconstruction by chosen features, with exact sparse gradients.

One pass over the rows makes the reconstruction, the residual, the error and each entry's inner product of residual and
direction, which its gradient is made of; meanwhile a row's directions stay in the cache. One pass over the features
makes the gradients of both weight matrices. Nothing is dense but rows and weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops import devices, sparse, weighted_rows
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code

PARTS = 64  # that all features' gradients are made in, side by side
Weights = tuple[
    Float[Tensor, "n_features d_in"],
    Float[Tensor, " n_features"],
    Float[Tensor, "n_features d_out"],
    Float[Tensor, " d_out"],
]  # w_enc, b_enc, w_dec, b_dec


def reference(
    x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], weights: Weights, code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_out"]]:
    """The same from the separate operations of ``sparse``."""
    w_enc, b_enc, w_dec, b_dec = weights
    values = sparse.active(x, w_enc, b_enc, code, by)
    left = y - sparse.decode(values, w_dec, code, by) - b_dec
    return left.square().mean(), left.detach()


def squared_error(
    x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], weights: Weights, code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_out"]]:
    """The mean over numbers of ``(y − x̂)²`` with ``x̂ = code @ w_dec + b_dec``, and the residual ``y − x̂``, detached.

    The error's gradient reaches ``y`` and all four weights: the chosen scores have that of ``x @ w_encᵀ + b_enc``.

    Args:
        x, y: what the scores are of, and what is reconstructed.
        weights: ``w_enc, b_enc, w_dec, b_dec``.
        code: what was chosen, and its scores.
        by: ``transpose(code)``.
    """
    if devices.on_cuda(x, y, *weights):
        from monoscope.ops.triton_kernels import reconstruct

        return reconstruct.squared_error(x, y, weights, code, by)
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (x, y, *weights)):
        return reference(x, y, weights, code, by)
    error, left = _SquaredError.apply(x, y, *weights, code, by)
    return error, left


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        w_enc: Tensor,
        b_enc: Tensor,
        w_dec: Tensor,
        b_dec: Tensor,
        code: Code,
        by: ByFeature,
    ) -> tuple[Tensor, Tensor]:
        left, slopes = torch.empty_like(y), torch.empty_like(code.values)
        squares = np.empty(len(code), np.float64)
        _residual(
            code.indices.numpy(), code.values.numpy(), code.offsets.numpy(), w_dec.contiguous().numpy(),
            b_dec.numpy(), y.contiguous().numpy(), left.numpy(), slopes.numpy(), squares,
        )  # fmt: skip
        ctx.save_for_backward(x, left, slopes)
        ctx.code, ctx.by = code, by
        ctx.mark_non_differentiable(left)
        return torch.tensor(squares.sum() / y.numel(), dtype=torch.float32), left

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, left, slopes = ctx.saved_tensors
        code, by, scale = ctx.code, ctx.by, float(grads[0]) * -2 / left.numel()
        pulls, pushes = slopes * scale, code.values * scale
        wants = ctx.needs_input_grad[2:6]
        enc = dec = None
        if wants[0] and wants[2]:
            enc, dec = _both(by, pulls, pushes, x, left)
        elif wants[0]:
            enc = weighted_rows.scatter(by, pulls, x)
        elif wants[2]:
            dec = weighted_rows.scatter(by, pushes, left)
        b_enc = weighted_rows.sums(by, pulls) if wants[1] else None
        b_dec = left.sum(0) * scale if wants[3] else None
        towards_y = left * -scale if ctx.needs_input_grad[1] else None
        return None, towards_y, enc, b_enc, dec, b_dec, None, None


def _both(by: ByFeature, pulls: Tensor, pushes: Tensor, x: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    n_features = len(by.offsets) - 1
    enc, dec = x.new_empty(n_features, x.shape[1]), left.new_empty(n_features, left.shape[1])
    _gradients(
        by.offsets.numpy(), by.rows.numpy(), by.entries.numpy(), pulls.numpy(), pushes.numpy(),
        x.contiguous().numpy(), left.numpy(), enc.numpy(), dec.numpy(),
    )  # fmt: skip
    return enc, dec


@njit(inline="always")
def _add4(out, a, va, b, vb, c, vc, d, vd, w):  # type: ignore[no-untyped-def]
    # four rows at once: one read and one write of the sum for four reads of w
    wa, wb, wc, wd = w[a], w[b], w[c], w[d]
    for j in range(len(out)):
        out[j] += va * wa[j] + vb * wb[j] + vc * wc[j] + vd * wd[j]


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _residual(indices, values, offsets, w, bias, y, left, slopes, squares):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    for block in prange((n + 31) // 32):
        sums = np.empty(w.shape[1], np.float32)
        for i in range(block * 32, min(n, block * 32 + 32)):
            sums[:] = 0
            e, last = offsets[i], offsets[i + 1]
            while e + 4 <= last:
                _add4(
                    sums, indices[e], values[e], indices[e + 1], values[e + 1],
                    indices[e + 2], values[e + 2], indices[e + 3], values[e + 3], w,
                )  # fmt: skip
                e += 4
            while e < last:
                direction, v = w[indices[e]], values[e]
                for j in range(len(sums)):
                    sums[j] += v * direction[j]
                e += 1
            row, target = left[i], y[i]
            square = np.float32(0)
            for j in range(len(sums)):
                row[j] = target[j] - sums[j] - bias[j]
                square += row[j] * row[j]
            squares[i] = square
            for e in range(offsets[i], last):
                direction = w[indices[e]]
                total = np.float32(0)
                for j in range(len(sums)):
                    total += row[j] * direction[j]
                slopes[e] = total


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _gradients(offsets, rows, entries, pulls, pushes, x, left, enc, dec):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    for part in prange(PARTS):  # of about as many entries each, for features differ in how many they have
        total = offsets[n]
        low = np.searchsorted(offsets[:n], part * total // PARTS) if part else 0
        high = np.searchsorted(offsets[:n], (part + 1) * total // PARTS) if part + 1 < PARTS else n
        for f in range(low, high):
            _of_feature(offsets[f], offsets[f + 1], rows, entries, pulls, pushes, x, left, enc[f], dec[f])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _of_feature(first, last, rows, entries, pulls, pushes, x, left, of_enc, of_dec):  # type: ignore[no-untyped-def]
    of_enc[:] = 0
    of_dec[:] = 0
    e = first
    while e + 4 <= last:
        a, b, c, d = rows[e], rows[e + 1], rows[e + 2], rows[e + 3]
        i, j, k, m = entries[e], entries[e + 1], entries[e + 2], entries[e + 3]
        _add4(of_dec, a, pushes[i], b, pushes[j], c, pushes[k], d, pushes[m], left)
        _add4(of_enc, a, pulls[i], b, pulls[j], c, pulls[k], d, pulls[m], x)
        e += 4
    while e < last:
        row, entry = rows[e], entries[e]
        for j in range(len(of_dec)):
            of_dec[j] += pushes[entry] * left[row, j]
        for j in range(len(of_enc)):
            of_enc[j] += pulls[entry] * x[row, j]
        e += 1
