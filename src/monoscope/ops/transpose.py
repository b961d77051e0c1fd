"""Turning a code around: its entries in the order of features instead of rows (a counting sort)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from numba import njit
from torch import Tensor

from monoscope.ops.room import room
from monoscope.types import Code


class ByFeature(NamedTuple):
    """A code's entries by feature: feature ``f`` owns entries ``offsets[f]:offsets[f + 1]``.

    ``rows`` is each entry's row, ``entries`` its place in the code. Within a feature rows ascend.
    """

    offsets: Int[Tensor, " n_features_plus_1"]
    rows: Int[Tensor, " n_active"]
    entries: Int[Tensor, " n_active"]


def reference(code: Code) -> ByFeature:
    """The same by a stable sort."""
    ordered, entries = torch.sort(code.indices.long(), stable=True)
    offsets = torch.searchsorted(ordered, torch.arange(code.n_features + 1, device=ordered.device))
    return ByFeature(offsets, code.rows()[entries].int(), entries.int())


def transpose(code: Code) -> ByFeature:
    """The entries of ``code`` by feature."""
    if code.indices.device.type != "cpu":
        return reference(code)
    rows, entries = (room(len(code.indices), dtype=torch.int32) for _ in range(2))
    offsets = np.zeros(code.n_features + 1, np.int64)
    _counting_sort(code.indices.numpy(), code.offsets.numpy(), offsets, rows.numpy(), entries.numpy())
    return ByFeature(torch.from_numpy(offsets), rows, entries)


@njit(cache=True, nogil=True)
def _counting_sort(indices, row_offsets, offsets, rows, entries):  # type: ignore[no-untyped-def]
    for f in indices:
        offsets[f + 1] += 1
    for f in range(len(offsets) - 1):
        offsets[f + 1] += offsets[f]
    at = offsets[:-1].copy()
    for row in range(len(row_offsets) - 1):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            f = indices[entry]
            rows[at[f]] = row
            entries[at[f]] = entry
            at[f] += 1
