"""The largest entries of all rows together: BatchTopK's cut, among candidates and without sorting them."""

from __future__ import annotations

import numpy as np
import torch
from numba import prange

from monoscope.ops.above import Ragged
from monoscope.ops.kernels import parallel
from monoscope.ops.topk import kth_largest
from monoscope.types import Code


def reference(entries: Ragged, wanted: int, n_features: int) -> Code:
    """By a stable sort."""
    counts, columns, values = entries
    rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    kept = torch.argsort(values, descending=True, stable=True)[:wanted].sort().values
    offsets = torch.zeros(len(counts) + 1, dtype=torch.long, device=counts.device)
    torch.cumsum(torch.bincount(rows[kept], minlength=len(counts)), 0, out=offsets[1:])
    return Code(columns[kept], values[kept], offsets, n_features)


def largest(entries: Ragged, wanted: int, n_features: int) -> Code:
    """The ``wanted`` largest of positive entries (all of them, if there are fewer); of equals the first.

    Args:
        entries: what is chosen among.
        wanted: how many are kept.
        n_features: columns that there are.
    """
    counts, columns, values = entries
    if values.device.type != "cpu":
        return by_cut(entries, wanted, n_features)
    kept = min(wanted, len(values))
    indices, chosen = np.empty(kept, np.int32), np.empty(kept, np.float32)
    offsets = np.zeros(len(counts) + 1, np.int64)
    bits = values.contiguous().view(torch.int32).numpy()
    _cut(counts.numpy(), columns.numpy(), bits, kept, offsets, indices, chosen.view(np.int32))
    return Code(torch.from_numpy(indices), torch.from_numpy(chosen), torch.from_numpy(offsets), n_features)


def by_cut(entries: Ragged, wanted: int, n_features: int) -> Code:
    """The same without sorting and without waiting for a device, in plain torch."""
    counts, columns, values = entries
    kept = min(wanted, len(values))
    cut = values.topk(kept, sorted=False).values.min() if kept else values.new_full((), torch.inf)
    larger, tied = values > cut, values == cut
    keep = larger | (tied & (tied.cumsum(0) <= kept - larger.sum()))
    upto = torch.cat([counts.new_zeros(1, dtype=torch.long), keep.cumsum(0)])
    places = torch.where(keep, upto[1:] - 1, kept)  # those that are not kept go where nobody looks
    chosen = [part.new_empty(kept + 1).scatter_(0, places, part)[:kept] for part in (columns, values)]
    ends = torch.cat([counts.new_zeros(1, dtype=torch.long), counts.cumsum(0)])
    return Code(chosen[0], chosen[1], upto[ends], n_features)


@parallel()
def _cut(counts, columns, bits, kept, offsets, indices, chosen):  # type: ignore[no-untyped-def]
    top = np.int32(0)
    for bit in bits:
        top = max(top, bit)
    cut = kth_largest(bits, len(bits), kept, 0, top)
    n = len(counts)
    starts, tied = np.cumsum(counts) - counts, np.empty(n, np.int64)
    for i in prange(n):
        larger = equal = 0
        for e in range(starts[i], starts[i] + counts[i]):
            larger += bits[e] > cut
            equal += bits[e] == cut
        offsets[i + 1], tied[i] = larger, equal
    ties = kept - offsets.sum()
    for i in range(n):  # of equals the first
        tied[i] = min(tied[i], ties)
        ties -= tied[i]
        offsets[i + 1] += offsets[i] + tied[i]
    for i in prange(n):
        at, room = offsets[i], tied[i]
        for e in range(starts[i], starts[i] + counts[i]):
            equal = bits[e] == cut and room > 0
            if bits[e] > cut or equal:
                indices[at] = columns[e]
                chosen[at] = bits[e]
                at += 1
                room -= equal
