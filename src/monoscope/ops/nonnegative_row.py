"""Non-negative pursuit of one row, in kernels: a round of picks, a fit of all amounts, and what is left.

``ops.nonnegative`` says what is computed. Inner products with all atoms come from outside, off by an error that is
known: ``pursue_rows`` brings them up to date itself, for ``rounds`` they are made anew each time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from monoscope.ops.encode import keep_largest
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.nearest import dot
from monoscope.ops.pursuit import NOISE, OFF
from monoscope.ops.topk import GROUPS, collect, group_maxima, kth_largest
from monoscope.ops.weighted_rows import weighted

ROUND, FEW = 0.5, 16  # of a round's largest inner product, what a candidate exceeds; and how many there are at most
SWEEPS = 100  # of a fit, at most
FITTED = 1e-3  # of what ends the pursuit: the largest change by a sweep that ends a fit
CHUNK = 16  # rows that one thread takes at a time
SHORT = 4  # rows with at most this share of the active atoms that there may be


class _Work(NamedTuple):
    """In kernels: what one row after the other works with."""

    maxima: np.ndarray
    groups: np.ndarray
    found: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    own: np.ndarray
    inner: np.ndarray
    more: np.ndarray
    as_float: np.ndarray
    as_int: np.ndarray


@njit(inline="always")
def _work(bits, most):  # type: ignore[no-untyped-def]
    """What the rows of such bits, of at most so many active atoms, work with."""
    n, number = bits.shape[1], np.empty(1, np.float32)
    return _Work(
        np.empty(GROUPS, bits.dtype), np.empty(GROUPS + 1, np.int32), np.empty(n + 1, bits.dtype),
        np.empty(n + 1, np.int32), np.empty(n, np.float32), np.empty((most, most), np.float32),
        np.empty(most, np.float32), np.empty(most + 3, np.float32), number, number.view(np.int32),
    )  # fmt: skip


@njit(inline="always")
def _four(picks, a, m):  # type: ignore[no-untyped-def]
    """Four picks from ``a`` on; where there are fewer among the first ``m``, the last of these again."""
    last = m - 1
    return picks[a], picks[min(a + 1, last)], picks[min(a + 2, last)], picks[min(a + 3, last)]


@njit(inline="always")
def _change(scores, gram, grain, picks, amounts, m):  # type: ignore[no-untyped-def]
    """Bring all inner products up to date with amounts of ``m`` atoms that are taken off; after them come zeros."""
    for a in range(0, m, 4):  # four at once: one read and one write of a score for four of the matrix
        one, two, three, four = _four(picks, a, m)
        p, q, r, s = amounts[a] * grain, amounts[a + 1] * grain, amounts[a + 2] * grain, amounts[a + 3] * grain
        for f in range(len(scores)):
            first = p * np.float32(gram[one, f]) + q * np.float32(gram[two, f])
            scores[f] -= first + (r * np.float32(gram[three, f]) + s * np.float32(gram[four, f]))


@inner
def _near(bits, shift, error, stop, work):  # type: ignore[no-untyped-def]
    """How many atoms may be candidates, as far as these inner products tell, which are off by ``error``.

    Their places are in ``work``. What was rounded to 16 bits is off by as much as that besides.
    """
    work.as_int[0] = np.int32(group_maxima(bits, work.maxima)) << shift
    top = work.as_float[0]
    if shift:
        error += np.float32(2.0**-8) * top
    if top + error <= stop:
        return 0
    work.as_float[0] = max(stop, np.float32(ROUND) * (top - error)) - error
    if work.as_float[0] > 0 and work.as_int[0] >> shift > 0:
        count = collect(bits, work.maxima, work.as_int[0] >> shift, work.groups, work.found, work.places)
        return _largest(count, shift, error, work) if count > FEW else count
    for f in range(len(bits)):  # of numbers of either sign: all
        work.places[f] = f
    return len(bits)


@inner
def _largest(count, shift, error, work):  # type: ignore[no-untyped-def]
    """How many of these atoms may be among the ``FEW`` largest; they are moved to the front."""
    found, places = work.found, work.places
    top = found[0]
    for c in range(1, count):
        top = max(top, found[c])
    work.as_int[0] = np.int32(kth_largest(found, count, FEW, 1, top)) << shift
    work.as_float[0] = max(work.as_float[0] - 2 * error, np.float32(0))
    least, kept = work.as_int[0] >> shift, 0
    for c in range(count):
        if found[c] >= least:
            places[kept] = places[c]
            kept += 1
    return kept


@inner(fastmath={"contract", "reassoc"})
def _candidates(count, left, atoms, picks, m, stop, work):  # type: ignore[no-untyped-def]
    """Of ``count`` atoms those that are candidates, exactly; how many, and what made them so."""
    places, scores, best = work.places, work.scores, stop
    for c in range(count):
        scores[c] = dot(left, atoms[places[c]])
        best = max(best, scores[c])
    enough = max(stop, np.float32(ROUND) * best)
    kept = 0
    for c in range(count):
        if scores[c] > enough:
            places[kept], scores[kept] = places[c], scores[c]
            kept += 1
    count, kept = keep_largest(places, scores, kept, FEW, places, scores), 0
    for c in range(count):
        fresh = True
        for a in range(m):
            fresh = fresh and picks[a] != places[c]
        if fresh:
            places[kept], scores[kept] = places[c], scores[c]
            kept += 1
    return kept, enough


@inner(fastmath={"contract", "reassoc"})
def _take(count, enough, left, atoms, picks, values, m, work):  # type: ignore[no-untyped-def]
    """Take the best of ``count`` candidates off, again and again; returns how many atoms are active then."""
    places, scores = work.places, work.scores
    while count > 0 and m < len(picks):
        best = 0
        for c in range(1, count):
            if scores[c] > scores[best] or (scores[c] == scores[best] and places[c] < places[best]):
                best = c
        at = places[best]
        amount = scores[best] / dot(atoms[at], atoms[at])
        picks[m], values[m] = at, amount
        m += 1
        for j in range(len(left)):
            left[j] -= amount * atoms[at, j]
        places[best] = places[count - 1]
        kept = 0
        for c in range(count - 1):
            score = dot(left, atoms[places[c]])
            if score > enough:
                places[kept], scores[kept] = places[c], score
                kept += 1
        count = kept
    return m


@inner
def _round(bits, shift, error, stop, left, atoms, picks, values, m, work):  # type: ignore[no-untyped-def]
    """Take candidates off; returns how many atoms are active then."""
    count = _near(bits, shift, error, stop, work)
    count, enough = _candidates(count, left, atoms, picks, m, stop, work)
    return _take(count, enough, left, atoms, picks, values, m, work)


@inner(fastmath={"contract", "reassoc"})
def _fit(gram, inner, amounts, m, tolerance):  # type: ignore[no-untyped-def]
    """Coordinate descent on the first ``m`` amounts."""
    slopes = inner[:m].copy()
    for a in range(m):
        for b in range(m):
            slopes[b] -= amounts[a] * gram[a, b]
    for _ in range(SWEEPS):
        moved = np.float32(0)
        for a in range(m):
            more = max(slopes[a] / gram[a, a], -amounts[a])
            for b in range(m):
                slopes[b] -= more * gram[a, b]
            moved = max(moved, abs(more))
            amounts[a] += more
        if moved <= tolerance:
            break


@inner
def _drop(gram, inner, active, amounts, m):  # type: ignore[no-untyped-def]
    """Close the gaps that amounts of 0 leave; returns how many are active."""
    at = 0
    while at < m and amounts[at] > 0:
        at += 1
    for a in range(at, m):
        if amounts[a] > 0:
            active[at], amounts[at], inner[at] = active[a], amounts[a], inner[a]
            for b in range(m):
                gram[at, b] = gram[a, b]
            for b in range(m):
                gram[b, at] = gram[b, a]
            at += 1
    active[at:m] = -1
    amounts[at:m] = 0
    return at


def numbers(m: np.ndarray) -> np.ndarray:
    """How many numbers ``_keep`` writes of so many active atoms."""
    return m * (m + 3) // 2


@inner
def _keep(m, work, kept):  # type: ignore[no-untyped-def]
    """Write what ``_meet`` made of ``m`` atoms. Of rows that are not ``SHORT`` it is made again each round, or it would
    be most of what a pursuit holds.
    """
    at = 0
    for a in range(m):
        for b in range(a + 1):
            kept[at + b] = work.own[a, b]
        kept[at + a + 1] = work.inner[a]
        at += a + 2


@inner
def _recall(m, work, kept):  # type: ignore[no-untyped-def]
    """Read it again."""
    at = 0
    for a in range(m):
        for b in range(a + 1):
            work.own[a, b] = work.own[b, a] = kept[at + b]
        work.inner[a] = kept[at + a + 1]
        at += a + 2


@inner(fastmath={"contract", "reassoc"})
def _meet(x, atoms, picks, known, m, work):  # type: ignore[no-untyped-def]
    """The inner products of active atoms with each other and the row, but for those of the first ``known``."""
    own, inner = work.own, work.inner
    for a in range(known, m):
        one = atoms[picks[a]]
        for b in range(a + 1):
            own[a, b] = own[b, a] = dot(one, atoms[picks[b]])
        inner[a] = dot(one, x)


@inner(fastmath={"contract", "reassoc"})
def _leave(x, left, atoms, picks, values, m):  # type: ignore[no-untyped-def]
    """What ``m`` active atoms leave of the row."""
    weighted(left, picks, values, m, atoms)
    for j in range(len(x)):
        left[j] = x[j] - left[j]


@inner(fastmath={"contract", "reassoc"})
def _pursue_row(scores, atoms, gram, grain, length, floor, x, picks, values, left, work):  # type: ignore[no-untyped-def]
    moved = np.sqrt(dot(x, x))
    stop = np.float32(max(floor, moved * NOISE))
    m, updates = np.int64(0), 2 * atoms.shape[1] + 8  # of one type throughout, or what takes it is compiled twice
    for _ in range(2 * len(picks)):
        error = np.float32((updates * 2.0**-22 * length + 2 * OFF * grain / length) * moved)
        known = m
        m = _round(scores.view(np.int32), 0, error, stop, left, atoms, picks, values, m, work)
        if m == known:
            break
        _meet(x, atoms, picks, known, m, work)
        work.more[:known] = -values[:known]
        work.more[known : m + 3] = 0
        _fit(work.own, work.inner, values, m, np.float32(FITTED) * stop)
        for a in range(m):
            work.more[a] += values[a]
            moved += abs(work.more[a]) * length
        _change(scores, gram, grain, picks, work.more, m)
        updates += m + 4  # a fit rounds a score once for each atom, or twice for four
        m = _drop(work.own, work.inner, picks, values, m)
        _leave(x, left, atoms, picks, values, m)


@inner(fastmath={"contract", "reassoc"})
def _round_of_row(bits, shift, rough, atoms, floor, x, picks, values, left, known, before, after, work):  # type: ignore[no-untyped-def]
    """A round and a fit; how many atoms are active then, or -1 where the pursuit has ended."""
    stop = np.float32(max(floor, np.sqrt(dot(x, x)) * NOISE))
    error = np.float32(rough * np.sqrt(dot(left, left)))
    m = _round(bits, shift, error, stop, left, atoms, picks, values, known, work)
    if m == known:
        return np.int64(-1)
    if known > len(picks) // SHORT:
        known = 0
    _recall(known, work, before)
    _meet(x, atoms, picks, known, m, work)
    _fit(work.own, work.inner, values, m, np.float32(FITTED) * stop)
    m = _drop(work.own, work.inner, picks, values, m)
    _leave(x, left, atoms, picks, values, m)
    if m <= len(picks) // SHORT:
        _keep(m, work, after)
    return m


@inner
def _some(first, last, bits, shift, rough, rows, atoms, floor, state, kept, going):  # type: ignore[no-untyped-def]
    """Some rows of ``rounds``. What a parallel loop holds takes several times as long to compile."""
    (x, picks, values, left, counts), (known, begun, more, begins) = state, kept
    work = _work(bits, picks.shape[1])
    for i in range(first, last):
        row = rows[i]
        m = _round_of_row(
            bits[i], shift, rough, atoms, floor, x[row], picks[row], values[row], left[row], counts[row],
            known[begun[i] :], more[begins[i] :], work,
        )  # fmt: skip
        going[i] = m >= 0
        if going[i]:
            counts[row] = m


@parallel()
def rounds(bits, shift, rough, rows, atoms, floor, x, picks, values, left, counts, known, begun, more, begins, going):  # type: ignore[no-untyped-def]
    """One round of each row. What ``_keep`` kept of row i begins at ``begun[i]``, and what it will at ``begins[i]``."""
    for chunk in prange((len(rows) + CHUNK - 1) // CHUNK):
        first, last = chunk * CHUNK, min(len(rows), (chunk + 1) * CHUNK)
        state, kept = (x, picks, values, left, counts), (known, begun, more, begins)
        _some(first, last, bits, shift, rough, rows, atoms, floor, state, kept, going)


@inner
def _pursue_some(first, last, scores, atoms, gram, grain, length, floor, x, picks, values, left):  # type: ignore[no-untyped-def]
    work = _work(scores.view(np.int32), picks.shape[1])
    for i in range(first, last):
        _pursue_row(scores[i], atoms, gram, grain, length, floor, x[i], picks[i], values[i], left[i], work)


@parallel()
def pursue_rows(scores, atoms, gram, grain, length, floor, x, picks, values, left):  # type: ignore[no-untyped-def]
    """Each row from its first round to its last. ``scores``, inner products with all atoms, are written over."""
    for chunk in prange((len(scores) + CHUNK - 1) // CHUNK):
        some = (chunk * CHUNK, min(len(scores), (chunk + 1) * CHUNK))
        _pursue_some(*some, scores, atoms, gram, grain, length, floor, x, picks, values, left)
