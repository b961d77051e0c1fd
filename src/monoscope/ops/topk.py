"""The k largest positive entries of every row, without sorting the row.

``reference`` is ``torch.topk`` followed by ReLU. The CPU kernel looks at the maxima of groups of neighbouring entries:
the k-th largest maximum bounds the k-th largest entry from below, so only the few groups that reach it are searched.
Positive floats order as their bit patterns do, so bf16 is compared as 16-bit integers. Ties go to the lower index.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from monoscope.errors import MonoscopeError


def reference(scores: Float[Tensor, "n n_features"], k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Indices and values of each row's k largest entries, largest first; values below 0 become 0."""
    values, indices = torch.topk(scores, k, dim=1)
    return indices, values.relu()


def topk(scores: Float[Tensor, "n n_features"], k: int) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """Indices and values of each row's k largest positive entries, in no particular order.

    Rows with fewer than k positive entries are filled with value 0. Values keep the dtype of ``scores``.

    Raises:
        MonoscopeError: k is not between 1 and the number of features.
    """
    n, n_features = scores.shape
    if not 1 <= k <= n_features:
        raise MonoscopeError(f"k = {k} with {n_features} features", fix="choose k between 1 and the number of features")
    if scores.device.type != "cpu" or scores.dtype not in (torch.bfloat16, torch.float32):
        return reference(scores, k)
    bits = torch.int16 if scores.dtype == torch.bfloat16 else torch.int32
    indices = np.zeros((n, k), np.int32)
    chosen = np.zeros((n, k), np.int16 if bits == torch.int16 else np.int32)
    _topk_rows(scores.contiguous().view(bits).numpy(), group_size(n_features, k), indices, chosen)
    return torch.from_numpy(indices), torch.from_numpy(chosen).view(scores.dtype)


def group_size(n_features: int, k: int) -> int:
    """Entries per group: few enough that there are several groups for each of the k places."""
    return max(1, min(64, n_features // (4 * k)))


@njit(inline="always")
def kth_largest(values, n, k, top):  # type: ignore[no-untyped-def]
    """The k-th largest of ``values[:n]`` among non-negative integers up to ``top``, or 0 when fewer are positive."""
    low, high = 0, top  # invariant: at least k entries are >= low
    while low < high:
        middle = low + (high - low + 1) // 2
        count = 0
        for i in range(n):
            count += values[i] >= middle
        if count >= k:
            low = middle
        else:
            high = middle - 1
    return low


@njit(inline="always")
def collect(row, maxima, n_groups, floor, found, places):  # type: ignore[no-untyped-def]
    """Entries of ``row`` that are at least ``floor`` (> 0), searched only in groups whose maximum is; how many."""
    count = 0
    for g in range(n_groups):
        if maxima[g] >= floor:
            for j in range(g, len(row), n_groups):
                if row[j] >= floor:
                    found[count] = row[j]
                    places[count] = j
                    count += 1
    return count


@njit(inline="always")
def group_maxima(row, maxima, n_groups):  # type: ignore[no-untyped-def]
    """Maxima of the groups ``g, g + n_groups, g + 2 n_groups …``: interleaved, so that the loop is a vector maximum."""
    for g in range(n_groups):
        maxima[g] = row[g]
    n = len(row)
    whole = n // n_groups
    for s in range(1, whole):
        base = s * n_groups
        for g in range(n_groups):
            maxima[g] = max(maxima[g], row[base + g])
    for g in range(n - whole * n_groups):
        maxima[g] = max(maxima[g], row[whole * n_groups + g])
    top = maxima[0]
    for g in range(1, n_groups):
        top = max(top, maxima[g])
    return top


@njit(parallel=True, cache=True, nogil=True)
def _topk_rows(bits, group, indices, chosen):  # type: ignore[no-untyped-def]
    n, n_features = bits.shape
    k = indices.shape[1]
    n_groups = n_features // group
    blocks = (n + 63) // 64
    for b in prange(blocks):
        maxima = np.empty(n_groups, bits.dtype)
        found = np.empty(n_features, bits.dtype)
        places = np.empty(n_features, np.int32)
        for i in range(b * 64, min(n, (b + 1) * 64)):
            row = bits[i]
            top = group_maxima(row, maxima, n_groups)
            if top <= 0:
                continue
            floor = max(1, kth_largest(maxima, n_groups, k, top))
            count = collect(row, maxima, n_groups, floor, found, places)
            cut = max(1, kth_largest(found, count, k, top))
            at = 0
            for c in range(count):
                if found[c] > cut:
                    indices[i, at] = places[c]
                    chosen[i, at] = found[c]
                    at += 1
            for c in range(count):
                if at < k and found[c] == cut:
                    indices[i, at] = places[c]
                    chosen[i, at] = found[c]
                    at += 1
