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
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.product import Tile

GROUPS = 256  # groups of a row's entries: several for each of the k places
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}  # integers that order as positive floats do
BY = {torch.bfloat16: 16, torch.float32: 0}  # by which they are shifted to be the bits of fp32
ENOUGH = 8  # entries more than wanted among which a bound need not be made sharper


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
    return topk_of_tiles([Tile(0, 0, scores, scores[:, :0])], len(scores), k)


def topk_of_tiles(
    tiles: Iterable[Tile], n_rows: int, k: int
) -> tuple[Int[Tensor, "n_rows k"], Float[Tensor, "n_rows k"]]:
    """The same of the scores of ``n_rows`` rows that come in tiles: only each row's k best so far are kept."""
    kept: tuple[Tensor, Tensor] | None = None
    counts = np.zeros(n_rows, np.int32)
    for row, feature, scores, _ in tiles:
        if kept is None:
            kept = scores.new_zeros((n_rows, k), dtype=torch.int32), scores.new_zeros((n_rows, k))
        indices, values = (t[row : row + len(scores)] for t in kept)
        if scores.device.type != "cpu" or scores.dtype not in BITS:
            _merge(indices, values, feature, scores)
            continue
        bits = BITS[scores.dtype]
        part = counts[row : row + len(scores)]
        _topk_rows(scores.contiguous().view(bits).numpy(), feature, part, indices.numpy(), values.view(bits).numpy())
    if kept is None:
        raise MonoscopeError("there are no scores to choose from")
    return kept


def _merge(indices: Tensor, values: Tensor, feature: int, scores: Tensor) -> None:
    """Take a tile's scores into the best so far, in place."""
    k = indices.shape[1]
    more, found = reference(scores, min(k, scores.shape[1]))
    best, places = torch.topk(torch.cat([values, found], 1), k, dim=1)
    indices.copy_(torch.cat([indices, more.int() + feature], 1).gather(1, places))
    values.copy_(best)


@njit(inline="always")
def kth_largest(values, n, k, low, top):  # type: ignore[no-untyped-def]
    """The k-th largest of ``values[:n]``, integers up to ``top``; ``low`` where fewer than k are above that."""
    high = top  # invariant: at least k entries are >= low, or it is the first low
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
def bound(values, n, k, top):  # type: ignore[no-untyped-def]
    """A number that at least k of ``values[:n]`` reach, and at most ``ENOUGH`` more if that is found soon."""
    low, high = 0, top
    while low < high:
        middle = low + (high - low + 1) // 2
        count = np.int32(0)
        for i in range(n):
            count += np.int32(values[i] >= middle)
        if count >= k:
            low = middle
            if count <= k + ENOUGH:
                break
        else:
            high = middle - 1
    return low


@njit(inline="always")
def collect(row, maxima, floor, groups, found, places):  # type: ignore[no-untyped-def]
    """Entries of ``row`` that are at least ``floor`` (> 0), searched only in groups whose maximum is; how many.

    ``groups`` has room for ``GROUPS + 1`` numbers, ``found`` and ``places`` for one entry more than the row: each is
    written first and counted afterwards, so that nothing depends on a guess of the processor's.
    """
    # unsigned: a signed index would be tested for being counted from the end, which takes as long as the rest
    several, count, end, step = np.uint64(0), np.uint64(0), np.uint64(len(row)), np.uint64(GROUPS)
    for g in range(GROUPS):
        groups[several] = g
        several += np.uint64(maxima[g] >= floor)
    for i in range(several):
        j = np.uint64(groups[np.uint64(i)])
        while j < end:
            found[count] = row[j]
            places[count] = j
            count += np.uint64(row[j] >= floor)
            j += step
    return np.int64(count)


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


@inner
def _topk_some(first_row, last_row, bits, first, counts, indices, chosen):  # type: ignore[no-untyped-def]
    """Some rows of ``_topk_rows``. What a parallel loop holds takes several times as long to compile."""
    width, k = bits.shape[1], indices.shape[1]
    maxima = np.empty(GROUPS, bits.dtype)
    groups = np.empty(GROUPS + 1, np.int32)
    found = np.empty(k + width + 1, bits.dtype)
    places = np.empty(k + width + 1, np.int32)
    for i in range(first_row, last_row):
        top = group_maxima(bits[i], maxima)
        held = counts[i]
        most, least = top, top
        for c in range(held):
            found[c] = chosen[i, c]
            places[c] = indices[i, c]
            most = max(most, found[c])
            least = min(least, found[c])
        # a tie with the least one held loses, for its column is higher
        floor = max(1, bound(maxima, GROUPS, k, top)) if held < k else 1 + int(least)
        if top < floor:
            continue
        count = held + collect(bits[i], maxima, floor, groups, found[held:], places[held:])
        for c in range(held, count):
            places[c] += first
        cut = kth_largest(found, count, k, floor if held < k else np.int64(least), most)
        counts[i] = _keep(found, places, count, k, cut, indices[i], chosen[i])


@parallel()
def _topk_rows(bits, first, counts, indices, chosen):  # type: ignore[no-untyped-def]
    """Take a tile's columns into the k best entries of every row, of which there are ``counts`` so far."""
    for block in prange((len(bits) + 31) // 32):
        _topk_some(block * 32, min(len(bits), (block + 1) * 32), bits, first, counts, indices, chosen)
