"""One pass over the rows of a code: what each reconstruction leaves over, and its inner product with each direction.

A row's directions stay in the cache while it is decoded and compared with each of them. Nothing is dense but rows and
weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from monoscope.ops import weighted_rows
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.room import room_like
from monoscope.ops.weighted_rows import weighted
from monoscope.types import Code


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
