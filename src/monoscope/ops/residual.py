"""Two passes over sparse entries, which are most of a training step: residuals by row, gradients by feature.

A row's directions stay in the cache while it is decoded and compared with each of them; a feature's two gradients are
made side by side. Nothing is dense but rows and weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops import weighted_rows
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.room import room, room_like
from monoscope.ops.transpose import ByFeature
from monoscope.ops.weighted_rows import weighted
from monoscope.types import Code

PARTS = 64  # that all features' gradients are made in, side by side


class Residual(NamedTuple):
    """What a reconstruction leaves over, its inner product with every entry's direction, its summed square (fp64)."""

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
    return Residual(left, weighted_rows.dots(code, left, w), left.double().square().sum())


def residual(
    code: Code, amounts: Float[Tensor, " n_entries"], w: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " d"], y: Float[Tensor, "n d"],
) -> Residual:  # fmt: skip
    """``y − (code with amounts) @ w − bias``, what it has in common with each entry's direction, and its square.

    Args:
        code: where the entries are; its values are not looked at.
        amounts: one per entry; may be 0.
        w, bias: the decoder.
        y: what is reconstructed.
    """
    if not _numba(amounts, w, bias, y):
        return reference_residual(code, amounts, w, bias, y)
    left, slopes, squares = room_like(y), room_like(amounts), np.empty(len(code), np.float64)
    _residual(
        code.indices.numpy(), amounts.contiguous().numpy(), code.offsets.numpy(), w.contiguous().numpy(),
        bias.contiguous().numpy(), y.contiguous().numpy(), left.numpy(), slopes.numpy(), squares,
        int(code.offsets.diff().max()) if len(code) else 0,
    )  # fmt: skip
    return Residual(left, slopes, torch.tensor(squares.sum()))


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
    enc, dec = room(n_features, x.shape[1]), room(n_features, left.shape[1])
    _gradients(
        by.offsets.numpy(), by.rows.numpy(), by.entries.numpy(), pulls.contiguous().numpy(),
        pushes.contiguous().numpy(), x.contiguous().numpy(), left.contiguous().numpy(), enc.numpy(), dec.numpy(),
    )  # fmt: skip
    return enc, dec


@inner(fastmath={"contract", "reassoc"})
def _residual_of_some(first, last, indices, amounts, offsets, w, bias, y, left, slopes, squares, longest):  # type: ignore[no-untyped-def]
    # apart from the parallel loop: what that holds takes several times as long to compile
    sums = np.empty(w.shape[1], np.float32)
    places = np.empty(longest + 1, np.int32)
    weights = np.empty(longest + 1, np.float32)
    for i in range(first, last):
        count = 0
        for e in range(offsets[i], offsets[i + 1]):
            places[count] = indices[e]
            weights[count] = amounts[e]
            count += amounts[e] != 0
        weighted(sums, places, weights, count, w)
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


@parallel()
def _residual(indices, amounts, offsets, w, bias, y, left, slopes, squares, longest):  # type: ignore[no-untyped-def]
    n = len(offsets) - 1
    for block in prange((n + 31) // 32):
        some = (block * 32, min(n, block * 32 + 32))
        _residual_of_some(*some, indices, amounts, offsets, w, bias, y, left, slopes, squares, longest)


@parallel(fastmath={"contract"})
def _gradients(offsets, rows, entries, pulls, pushes, x, left, enc, dec):  # type: ignore[no-untyped-def]
    for part in prange(PARTS):
        # about as many entries in each, for features differ in how many they have
        n, total = len(offsets) - 1, offsets[-1]
        low = np.searchsorted(offsets[:n], part * total // PARTS) if part else 0
        high = np.searchsorted(offsets[:n], (part + 1) * total // PARTS) if part + 1 < PARTS else n
        for f in range(low, high):
            _both(offsets[f], offsets[f + 1], rows, entries, pulls, pushes, x, left, enc[f], dec[f])


@njit(inline="always")
def _add4(out, a, va, b, vb, c, vc, d, vd, w):  # type: ignore[no-untyped-def]
    # four rows at once: one read and one write of the sum for four reads of w
    wa, wb, wc, wd = w[a], w[b], w[c], w[d]
    for j in range(len(out)):
        out[j] += va * wa[j] + vb * wb[j] + vc * wc[j] + vd * wd[j]


@inner(fastmath={"contract"})
def _both(first, last, rows, entries, pulls, pushes, x, left, of_enc, of_dec):  # type: ignore[no-untyped-def]
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
