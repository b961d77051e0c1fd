"""Two passes over sparse entries, for amounts of which many may be 0: residuals by row, gradients by feature.

An entry whose amount is 0 is decoded into nothing and pulls at nothing, so both passes leave it out; only its inner
product of residual and direction is still made, because thresholds learn from it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops import weighted_rows
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code


class Residual(NamedTuple):
    """What a reconstruction leaves over, its inner product with every entry's direction, its summed square."""

    left: Float[Tensor, "n d"]
    slopes: Float[Tensor, " n_entries"]
    error: Float[Tensor, ""]


def _numba(*tensors: Tensor) -> bool:
    return all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def reference_residual(
    code: Code, amounts: Float[Tensor, " n_entries"], w: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " d"], y: Float[Tensor, "n d"],
) -> Residual:  # fmt: skip
    """The same by separate operations."""
    left = y - weighted_rows.gather(Code(code.indices, amounts, code.offsets, code.n_features), w) - bias
    return Residual(left, weighted_rows.dots(code, left, w), left.double().square().sum().to(y.dtype))


def residual(
    code: Code, amounts: Float[Tensor, " n_entries"], w: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " d"], y: Float[Tensor, "n d"],
) -> Residual:  # fmt: skip
    """``y − (code with amounts) @ w − bias``, what it has in common with each entry's direction, and its square.

    Args:
        code: where the entries are; its values are not looked at.
        amounts: one per entry; 0 leaves it out.
        w, bias: the decoder.
        y: what is reconstructed.
    """
    if not _numba(amounts, w, bias, y):
        return reference_residual(code, amounts, w, bias, y)
    left, slopes, squares = torch.empty_like(y), torch.empty_like(amounts), np.empty(len(code), np.float64)
    _residual(
        code.indices.numpy(), amounts.contiguous().numpy(), code.offsets.numpy(), w.contiguous().numpy(),
        bias.contiguous().numpy(), y.contiguous().numpy(), left.numpy(), slopes.numpy(), squares,
    )  # fmt: skip
    return Residual(left, slopes, torch.tensor(squares.sum(), dtype=torch.float32))


def reference_gradients(
    by: ByFeature, pulls: Float[Tensor, " n_entries"], pushes: Float[Tensor, " n_entries"],
    x: Float[Tensor, "n d_in"], left: Float[Tensor, "n d_out"],
) -> tuple[Float[Tensor, "n_features d_in"], Float[Tensor, "n_features d_out"]]:  # fmt: skip
    """The same by two scatters."""
    return weighted_rows.scatter(by, pulls, x), weighted_rows.scatter(by, pushes, left)


def gradients(
    by: ByFeature, pulls: Float[Tensor, " n_entries"], pushes: Float[Tensor, " n_entries"],
    x: Float[Tensor, "n d_in"], left: Float[Tensor, "n d_out"],
) -> tuple[Float[Tensor, "n_features d_in"], Float[Tensor, "n_features d_out"]]:  # fmt: skip
    """For every feature, the sum of ``x``'s rows weighted by ``pulls``, and of ``left``'s weighted by ``pushes``."""
    if not _numba(pulls, pushes, x, left):
        return reference_gradients(by, pulls, pushes, x, left)
    n_features = len(by.offsets) - 1
    enc, dec = x.new_empty(n_features, x.shape[1]), left.new_empty(n_features, left.shape[1])
    _gradients(
        by.offsets.numpy(), by.rows.numpy(), by.entries.numpy(), pulls.contiguous().numpy(),
        pushes.contiguous().numpy(), x.contiguous().numpy(), left.contiguous().numpy(), enc.numpy(), dec.numpy(),
    )  # fmt: skip
    return enc, dec


@njit(inline="always")
def _weighted(out, places, weights, count, w):  # type: ignore[no-untyped-def]
    # four rows at once: one read and one write of the sum for four reads of w
    out[:] = 0
    e = 0
    while e + 4 <= count:
        a, b, c, d = w[places[e]], w[places[e + 1]], w[places[e + 2]], w[places[e + 3]]
        va, vb, vc, vd = weights[e], weights[e + 1], weights[e + 2], weights[e + 3]
        for j in range(len(out)):
            out[j] += va * a[j] + vb * b[j] + vc * c[j] + vd * d[j]
        e += 4
    while e < count:
        a, va = w[places[e]], weights[e]
        for j in range(len(out)):
            out[j] += va * a[j]
        e += 1


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _residual(indices, amounts, offsets, w, bias, y, left, slopes, squares):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    longest = (offsets[1:] - offsets[:-1]).max() if n else 0
    for block in prange((n + 31) // 32):
        sums = np.empty(w.shape[1], np.float32)
        places = np.empty(longest + 1, np.int32)
        weights = np.empty(longest + 1, np.float32)
        for i in range(block * 32, min(n, block * 32 + 32)):
            count = 0
            for e in range(offsets[i], offsets[i + 1]):
                places[count] = indices[e]
                weights[count] = amounts[e]
                count += amounts[e] != 0
            _weighted(sums, places, weights, count, w)
            row, target = left[i], y[i]
            square = np.float32(0)
            for j in range(len(sums)):
                row[j] = target[j] - sums[j] - bias[j]
                square += row[j] * row[j]
            squares[i] = square
            for e in range(offsets[i], offsets[i + 1]):
                direction = w[indices[e]]
                total = np.float32(0)
                for j in range(len(sums)):
                    total += row[j] * direction[j]
                slopes[e] = total


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract"})
def _gradients(offsets, rows, entries, pulls, pushes, x, left, enc, dec):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    longest = (offsets[1:] - offsets[:-1]).max()
    for block in prange((n + 15) // 16):
        places = np.empty(longest + 1, np.int32)
        weights = np.empty(longest + 1, np.float32)
        for f in range(block * 16, min(n, block * 16 + 16)):
            count = 0
            for e in range(offsets[f], offsets[f + 1]):
                places[count] = rows[e]
                weights[count] = pushes[entries[e]]
                count += weights[count] != 0
            _weighted(dec[f], places, weights, count, left)
            count = 0
            for e in range(offsets[f], offsets[f + 1]):
                places[count] = rows[e]
                weights[count] = pulls[entries[e]]
                count += weights[count] != 0
            _weighted(enc[f], places, weights, count, x)
