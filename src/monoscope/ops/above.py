"""The positive entries of a block of scores that exceed a floor, row after row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from monoscope.ops.topk import GROUPS, collect, group_maxima


class Ragged(NamedTuple):
    """Entries of rows, row after row: how many each row has, their columns, their values in fp32."""

    counts: Int[Tensor, " n_rows"]
    columns: Int[Tensor, " m"]
    values: Float[Tensor, " m"]


def reference(scores: Float[Tensor, "n n_features"], floor: float) -> Ragged:
    """The entries of each row that exceed ``floor``, by a mask."""
    mask = scores > floor
    rows, columns = mask.nonzero(as_tuple=True)
    return Ragged(mask.sum(1), columns.int(), scores[rows, columns].float())


def above(scores: Float[Tensor, "n n_features"], floor: float) -> Ragged:
    """The entries of each row that exceed ``floor``, within a row in no particular order.

    On a CPU, for a floor ≥ 0, positive floats are compared as the integers that their bits are, and only groups of
    entries whose maximum exceeds the floor are searched (see ``topk``).
    """
    if scores.device.type != "cpu" or scores.dtype not in (torch.bfloat16, torch.float32) or floor < 0:
        return reference(scores, floor)
    bits, shift = (torch.int16, 16) if scores.dtype == torch.bfloat16 else (torch.int32, 0)
    least = (int(torch.tensor(floor + 0.0).view(torch.int32)) >> shift) + 1
    rows = scores.contiguous().view(bits).numpy()
    counts = np.empty(len(rows), np.int64)
    _count(rows, least, counts)
    starts = np.cumsum(counts) - counts
    columns, values = np.empty(int(counts.sum()), np.int32), np.empty(int(counts.sum()), rows.dtype)
    _fill(rows, least, starts, columns, values)
    found = torch.from_numpy(values).view(scores.dtype).float()
    return Ragged(torch.from_numpy(counts), torch.from_numpy(columns), found)


def above_of_blocks(blocks: Iterable[tuple[int, Float[Tensor, "n block"]]], floor: float) -> Ragged:
    """The same of scores that come as blocks of columns: (first column, scores)."""
    parts = [(first, above(scores, floor)) for first, scores in blocks]
    counts = torch.stack([part.counts for _, part in parts], 1)
    starts = counts.flatten().cumsum(0).view_as(counts) - counts
    total = int(counts.sum())
    columns, values = (parts[0][1].columns.new_empty(total), parts[0][1].values.new_empty(total))
    for block, (first, part) in enumerate(parts):
        shift = starts[:, block] - (part.counts.cumsum(0) - part.counts)  # from the block's order to the rows'
        places = torch.arange(len(part.values), device=shift.device) + torch.repeat_interleave(shift, part.counts)
        columns[places], values[places] = part.columns + first, part.values
    return Ragged(counts.sum(1), columns, values)


@njit(parallel=True, cache=True, nogil=True)
def _count(bits, least, counts):  # type: ignore[no-untyped-def]
    n, n_features = bits.shape
    for block in prange((n + 63) // 64):
        maxima = np.empty(GROUPS, bits.dtype)
        for i in range(block * 64, min(n, block * 64 + 64)):
            row = bits[i]
            group_maxima(row, maxima)
            count = 0
            for g in range(GROUPS):
                if maxima[g] >= least:
                    for j in range(g, n_features, GROUPS):
                        count += row[j] >= least
            counts[i] = count


@njit(parallel=True, cache=True, nogil=True)
def _fill(bits, least, starts, columns, values):  # type: ignore[no-untyped-def]
    n, n_features = bits.shape
    for block in prange((n + 63) // 64):
        maxima = np.empty(GROUPS, bits.dtype)
        found = np.empty(n_features + 1, bits.dtype)
        places = np.empty(n_features + 1, np.int32)
        for i in range(block * 64, min(n, block * 64 + 64)):
            group_maxima(bits[i], maxima)
            count = collect(bits[i], maxima, least, found, places)
            columns[starts[i] : starts[i] + count] = places[:count]
            values[starts[i] : starts[i] + count] = found[:count]
