"""The k largest positive entries of every row, without sorting the row.

``reference`` is ``torch.topk`` followed by ReLU. The CPU kernel looks at the maxima of groups of neighbouring entries:
the k-th largest maximum bounds the k-th largest entry from below, so only the few groups that reach it are searched.
Positive floats order as their bit patterns do, so bf16 is compared as 16-bit integers. Ties go to the lower index.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from monoscope.errors import MonoscopeError

GROUPS = 256  # groups of a row's entries: several for each of the k places


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
    if not 1 <= k <= scores.shape[1]:
        raise MonoscopeError(
            f"k = {k} with {scores.shape[1]} features", fix="choose k between 1 and the number of features"
        )
    return topk_of_blocks([(0, scores)], k)


def topk_of_blocks(
    blocks: Iterable[tuple[int, Float[Tensor, "n block"]]], k: int
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The same of scores that come as blocks of columns, (first column, scores): only the k best so far are kept."""
    kept: tuple[Tensor, Tensor] | None = None
    counts = np.zeros(0, np.int32)
    for first, scores in blocks:
        if scores.device.type != "cpu" or scores.dtype not in (torch.bfloat16, torch.float32):
            kept = _merge(kept, first, scores, k)
            continue
        bits = torch.int16 if scores.dtype == torch.bfloat16 else torch.int32
        if kept is None:
            n, counts = len(scores), np.zeros(len(scores), np.int32)
            kept = torch.zeros((n, k), dtype=torch.int32), torch.zeros((n, k), dtype=scores.dtype)
        _topk_rows(scores.contiguous().view(bits).numpy(), first, counts, kept[0].numpy(), kept[1].view(bits).numpy())
    if kept is None:
        raise MonoscopeError("there are no scores to choose from")
    return kept


def _merge(kept: tuple[Tensor, Tensor] | None, first: int, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    indices, values = reference(scores, min(k, scores.shape[1]))
    if kept is None:
        room = k - values.shape[1]
        return torch.nn.functional.pad(indices, (0, room)), torch.nn.functional.pad(values, (0, room))
    both = torch.cat([kept[0], indices + first], 1), torch.cat([kept[1], values], 1)
    best, places = torch.topk(both[1], k, dim=1)
    return both[0].gather(1, places), best


@njit(inline="always")
def kth_largest(values, n, k, top):  # type: ignore[no-untyped-def]
    """The k-th largest of ``values[:n]`` among non-negative integers up to ``top``, or 0 when fewer are positive."""
    low, high = 0, top  # invariant: at least k entries are >= low
    while low < high:
        middle = low + (high - low + 1) // 2
        count = np.int32(0)
        for i in range(n):
            count += np.int32(values[i] >= middle)
        if count >= k:
            low = middle
        else:
            high = middle - 1
    return low


@njit(inline="always")
def collect(row, maxima, floor, found, places):  # type: ignore[no-untyped-def]
    """Entries of ``row`` that are at least ``floor`` (> 0), searched only in groups whose maximum is; how many.

    ``found`` and ``places`` have room for one entry more than the row: each is written first and counted afterwards.
    """
    count = 0
    for g in range(GROUPS):
        if maxima[g] >= floor:
            for j in range(g, len(row), GROUPS):
                found[count] = row[j]
                places[count] = j
                count += row[j] >= floor
    return count


@njit(inline="always")
def group_maxima(row, maxima):  # type: ignore[no-untyped-def]
    """Write the groups' maxima, 0 where none is positive, and return the greatest.

    Group ``g`` holds entries ``g, g + GROUPS, g + 2 GROUPS …``: a loop of constant length over neighbouring entries is
    what a compiler turns into vector maxima.
    """
    for g in range(GROUPS):
        maxima[g] = 0
    whole = len(row) // GROUPS
    for s in range(whole):
        part = row[s * GROUPS : (s + 1) * GROUPS]
        for g in range(GROUPS):
            if part[g] > maxima[g]:
                maxima[g] = part[g]
    rest = row[whole * GROUPS :]
    for g in range(len(rest)):
        if rest[g] > maxima[g]:
            maxima[g] = rest[g]
    top = maxima[0]
    for g in range(GROUPS):
        if maxima[g] > top:
            top = maxima[g]
    return top


@njit(inline="always")
def _keep(found, places, count, k, cut, indices, chosen):  # type: ignore[no-untyped-def]
    """Write the entries above ``cut`` and, by ascending place, as many of those equal to it as there is room for."""
    at = 0
    for c in range(count):
        if found[c] > cut:
            indices[at] = places[c]
            chosen[at] = found[c]
            at += 1
    after = -1
    while at < k:
        first = -1
        for c in range(count):
            if found[c] == cut and places[c] > after and (first < 0 or places[c] < first):
                first = places[c]
        if first < 0:
            break
        indices[at] = first
        chosen[at] = cut
        after = first
        at += 1
    return at


@njit(parallel=True, cache=True, nogil=True)
def _topk_rows(bits, first, counts, indices, chosen):  # type: ignore[no-untyped-def]
    """Take a block of columns into the k best entries of every row, of which there are ``counts`` so far."""
    n, width = bits.shape
    k = indices.shape[1]
    for block in prange((n + 63) // 64):
        maxima = np.empty(GROUPS, bits.dtype)
        found = np.empty(k + width + 1, bits.dtype)
        places = np.empty(k + width + 1, np.int32)
        for i in range(block * 64, min(n, (block + 1) * 64)):
            top = group_maxima(bits[i], maxima)
            held = counts[i]
            # a tie with the least one held loses, for its column is higher
            floor = max(1, kth_largest(maxima, GROUPS, k, top)) if held < k else 1 + int(chosen[i].min())
            if top < floor:
                continue
            found[:held] = chosen[i, :held]
            places[:held] = indices[i, :held]
            count = held + collect(bits[i], maxima, floor, found[held:], places[held:])
            places[held:count] += first
            cut = max(1, kth_largest(found, count, k, max(top, found[:held].max()) if held else top))
            counts[i] = _keep(found, places, count, k, cut, indices[i], chosen[i])
