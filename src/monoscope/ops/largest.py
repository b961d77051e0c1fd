"""The largest entries of all rows together: BatchTopK's cut, among candidates and without sorting them."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit

from monoscope.ops.above import Ragged
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


@njit(cache=True, nogil=True)
def _cut(counts, columns, bits, kept, offsets, indices, chosen):  # type: ignore[no-untyped-def]
    top = np.int32(0)
    for bit in bits:
        top = max(top, bit)
    cut = kth_largest(bits, len(bits), kept, top)
    ties = kept
    for bit in bits:
        ties -= bit > cut
    entry = at = 0
    for row in range(len(counts)):
        for _ in range(counts[row]):
            tied = bits[entry] == cut and ties > 0
            if bits[entry] > cut or tied:
                indices[at] = columns[entry]
                chosen[at] = bits[entry]
                at += 1
                ties -= tied
            entry += 1
        offsets[row + 1] = at
