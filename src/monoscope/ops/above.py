"""The entries of a block of scores that exceed a floor, row after row."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor


def reference(
    scores: Float[Tensor, "n n_features"], floor: float
) -> tuple[Int[Tensor, " n_rows"], Int[Tensor, " m"], Float[Tensor, " m"]]:
    """How many entries of each row exceed ``floor``, then their columns and values (fp32), row after row."""
    mask = scores > floor
    rows, columns = mask.nonzero(as_tuple=True)
    return mask.sum(1), columns.int(), scores[rows, columns].float()


def above(
    scores: Float[Tensor, "n n_features"], floor: float
) -> tuple[Int[Tensor, " n_rows"], Int[Tensor, " m"], Float[Tensor, " m"]]:
    """See ``reference``; on a CPU in two passes over the block, and no mask is made."""
    if scores.device.type != "cpu":
        return reference(scores, floor)
    dense = scores.float().contiguous().numpy()
    counts = np.empty(len(dense), np.int64)
    _count(dense, np.float32(floor), counts)
    starts = np.cumsum(counts) - counts
    columns, values = np.empty(int(counts.sum()), np.int32), np.empty(int(counts.sum()), np.float32)
    _fill(dense, np.float32(floor), starts, columns, values)
    return torch.from_numpy(counts), torch.from_numpy(columns), torch.from_numpy(values)


@njit(parallel=True, cache=True, nogil=True)
def _count(scores, floor, counts):  # type: ignore[no-untyped-def]
    for i in prange(len(scores)):
        count = 0
        for j in range(scores.shape[1]):
            count += scores[i, j] > floor
        counts[i] = count


@njit(parallel=True, cache=True, nogil=True)
def _fill(scores, floor, starts, columns, values):  # type: ignore[no-untyped-def]
    for i in prange(len(scores)):
        at = starts[i]
        for j in range(scores.shape[1]):
            if scores[i, j] > floor:
                columns[at] = j
                values[at] = scores[i, j]
                at += 1
