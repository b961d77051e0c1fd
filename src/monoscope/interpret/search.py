"""The label of best F1 on the fit rows, for every feature: single concepts, pairs, sets of tokens.

A feature is *on* where its value is above ``t · max`` for a ``t`` of 0, 0.1 … 0.9. Each of its entries falls into one
of ten buckets by the highest such ``t``; one pass counts, for every concept and bucket, the entries on which the
concept holds. Summed from above these are the true positives at every ``t``, and

    F1(concept, t) = 2 · true positives / (rows on at t + rows of the concept).

A second pass does the same for every pair that one of the ``BASES`` best concepts, or the best set of tokens, forms
with any other concept or its negation; the rows of a pair are known from ``evidence``.

The best set of at most ``MOST_TOKENS`` tokens is exact (Dinkelbach 1967): for a guess λ of F1, it holds the tokens of
largest positive ``2·tp − λ·n``, and the F1 of that set is the next guess.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Float, Int

from monoscope.interpret.evidence import Fit

N_THRESHOLDS = 10
BASES = 12
MOST_TOKENS = 8
LEAST_ON = 50  # fit rows on at t: fewer say nothing about a label
GAIN = 0.02  # what a second concept must add to F1 to be worth its words
NEGATION = 0.01  # what a negation must add beyond that, for it says less
NONE, TOKENS = -1, -2  # in place of a concept's number: nothing; the set of tokens


class Findings(NamedTuple):
    """The best labels of each feature on the fit rows.

    ``first`` is a concept's number or ``TOKENS``; ``second`` a concept's number, ``-3 - number`` for its negation, or
    ``NONE``. ``tokens[f, b]`` is the best set of tokens at threshold ``b``, padded with -1; that at ``token_bucket`` is
    the token label, and the set that ``TOKENS`` stands for.
    """

    first: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    bucket: Int[np.ndarray, " n"]
    f1: Float[np.ndarray, " n"]
    tokens: Int[np.ndarray, "n n_thresholds most_tokens"]
    token_bucket: Int[np.ndarray, " n"]
    token_f1: Float[np.ndarray, " n"]


def search(
    fit: Fit, offsets: Int[np.ndarray, " n_plus_1"], rows: Int[np.ndarray, " m"], buckets: Int[np.ndarray, " m"]
) -> Findings:
    """Search for the labels of ``n`` features; ``rows`` are fit rows (0, 1, …) with the bucket of each value."""
    n = len(offsets) - 1
    found = Findings(
        np.full(n, NONE, dtype=np.int64),
        np.full(n, NONE, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.zeros(n),
        np.full((n, N_THRESHOLDS, MOST_TOKENS), -1, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.zeros(n),
    )
    _search(fit, offsets, rows, buckets, found)
    return found


def bucketed(
    values: Float[np.ndarray, " m"], offsets: Int[np.ndarray, " n_plus_1"], maxima: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """For every value the largest ``b`` in 0 … 9 with ``value > b/10 · max`` of its feature; 255 when there is none."""
    buckets = np.empty(len(values), dtype=np.uint8)
    _bucket(values, offsets, maxima, buckets)
    return buckets


@numba.njit(cache=True, nogil=True)
def _bucket(values: np.ndarray, offsets: np.ndarray, maxima: np.ndarray, buckets: np.ndarray) -> None:
    for f in range(len(offsets) - 1):
        edges = np.arange(N_THRESHOLDS) / 10.0 * maxima[f]
        for e in range(offsets[f], offsets[f + 1]):
            b = -1
            while b < N_THRESHOLDS - 1 and values[e] > edges[b + 1]:
                b += 1
            buckets[e] = b if b >= 0 else 255


@numba.njit(cache=True, nogil=True)
def _search(fit: Fit, offsets: np.ndarray, rows: np.ndarray, buckets: np.ndarray, found: Findings) -> None:
    n_concepts = len(fit.positives)
    singles = np.zeros((n_concepts, N_THRESHOLDS), dtype=np.int64)
    pairs = np.zeros((BASES + 1, n_concepts, N_THRESHOLDS), dtype=np.int32)
    tokens = np.zeros((len(fit.token_counts), N_THRESHOLDS), dtype=np.int64)
    touched = np.zeros(len(fit.token_counts), dtype=np.int64)
    chosen = np.zeros(len(fit.token_counts), dtype=np.bool_)
    on = np.zeros(N_THRESHOLDS, dtype=np.int64)
    for f in range(len(offsets) - 1):
        first, last = offsets[f], offsets[f + 1]
        n_touched = _count(fit, rows[first:last], buckets[first:last], singles, tokens, touched, on)
        least = min(LEAST_ON, on[0])
        if on[0] == 0:
            continue
        found.token_f1[f], found.token_bucket[f] = _best_tokens(
            fit, tokens, touched[:n_touched], on, least, found.tokens[f]
        )
        bases = _best_singles(fit, singles, on, least, f, found)
        members = found.tokens[f, found.token_bucket[f]]
        _mark(chosen, members, True)
        _count_pairs(fit, rows[first:last], buckets[first:last], bases, chosen, pairs)
        _best_pairs(fit, singles, tokens, pairs, bases, on, least, members, f, found)
        _mark(chosen, members, False)
        for i in range(n_touched):
            for b in range(N_THRESHOLDS):
                tokens[touched[i], b] = 0


@numba.njit(cache=True, nogil=True)
def _mark(chosen: np.ndarray, members: np.ndarray, value: bool) -> None:
    for token in members:
        if token >= 0:
            chosen[token] = value


@numba.njit(cache=True, nogil=True)
def _count(
    fit: Fit,
    rows: np.ndarray,
    buckets: np.ndarray,
    singles: np.ndarray,
    tokens: np.ndarray,
    touched: np.ndarray,
    on: np.ndarray,
) -> int:
    """True positives of every concept and token at every threshold; returns how many tokens were met."""
    singles[:] = 0
    on[:] = 0
    n_touched = 0
    for e in range(len(rows)):
        row, b = rows[e], buckets[e]
        on[b] += 1
        for j in range(fit.starts[row], fit.starts[row + 1]):
            singles[fit.listed[j], b] += 1
        token = fit.spellings[row]
        known = False
        for other in range(N_THRESHOLDS):
            known = known or tokens[token, other] > 0
        if not known:
            touched[n_touched] = token
            n_touched += 1
        tokens[token, b] += 1
    for b in range(N_THRESHOLDS - 2, -1, -1):
        on[b] += on[b + 1]
        for c in range(len(singles)):
            singles[c, b] += singles[c, b + 1]
        for i in range(n_touched):
            tokens[touched[i], b] += tokens[touched[i], b + 1]
    return n_touched


@numba.njit(cache=True, nogil=True)
def _best_tokens(
    fit: Fit, tokens: np.ndarray, touched: np.ndarray, on: np.ndarray, least: int, best: np.ndarray
) -> tuple[float, int]:
    """Write the best set of tokens at each threshold into ``best``; returns the best F1 and its threshold."""
    best_f1, best_bucket = 0.0, 0
    members = np.empty(MOST_TOKENS, dtype=np.int64)
    gains = np.empty(MOST_TOKENS)
    for b in range(N_THRESHOLDS):
        if on[b] < least:
            break
        f1 = 0.0
        while True:
            n = 0
            for token in touched:
                gain = 2.0 * tokens[token, b] - f1 * fit.token_counts[token]
                if tokens[token, b] == 0 or gain <= 0 or (n == MOST_TOKENS and gain <= gains[n - 1]):
                    continue
                n = min(n + 1, MOST_TOKENS)
                place = n - 1
                while place > 0 and gains[place - 1] < gain:
                    gains[place], members[place] = gains[place - 1], members[place - 1]
                    place -= 1
                gains[place], members[place] = gain, token
            hits, size = 0, 0
            for i in range(n):
                hits += tokens[members[i], b]
                size += fit.token_counts[members[i]]
            better = 2.0 * hits / (on[b] + size)
            if better <= f1 + 1e-12:
                break
            f1 = better
            for i in range(MOST_TOKENS):
                best[b, i] = members[i] if i < n else -1
        if f1 > best_f1:
            best_f1, best_bucket = f1, b
    return best_f1, best_bucket


@numba.njit(cache=True, nogil=True)
def _best_singles(fit: Fit, singles: np.ndarray, on: np.ndarray, least: int, f: int, found: Findings) -> np.ndarray:
    """Note the best single concept; returns the ``BASES`` best."""
    bases = np.full(BASES, NONE, dtype=np.int64)
    scores = np.zeros(BASES)
    for c in range(len(singles)):
        score, bucket = 0.0, 0
        for b in range(N_THRESHOLDS):
            if on[b] < least:
                break
            f1 = 2.0 * singles[c, b] / (on[b] + fit.positives[c])
            if f1 > score:
                score, bucket = f1, b
        if score > found.f1[f]:
            found.f1[f], found.first[f], found.bucket[f] = score, c, bucket
        if score > scores[-1]:
            place = BASES - 1
            while place > 0 and scores[place - 1] < score:
                scores[place], bases[place] = scores[place - 1], bases[place - 1]
                place -= 1
            scores[place], bases[place] = score, c
    return bases


@numba.njit(cache=True, nogil=True)
def _count_pairs(
    fit: Fit, rows: np.ndarray, buckets: np.ndarray, bases: np.ndarray, chosen: np.ndarray, pairs: np.ndarray
) -> None:
    """True positives of every base with every concept at every threshold; the set of tokens is the last base."""
    pairs[:] = 0
    place = np.full(len(fit.positives), -1, dtype=np.int64)
    for i in range(BASES):
        if bases[i] >= 0:
            place[bases[i]] = i
    holding = np.empty(BASES + 1, dtype=np.int64)
    for e in range(len(rows)):
        row, b = rows[e], buckets[e]
        n = 0
        for j in range(fit.starts[row], fit.starts[row + 1]):
            if place[fit.listed[j]] >= 0:
                holding[n] = place[fit.listed[j]]
                n += 1
        if chosen[fit.spellings[row]]:
            holding[n] = BASES
            n += 1
        for j in range(fit.starts[row], fit.starts[row + 1] if n > 0 else fit.starts[row]):
            c = fit.listed[j]
            for i in range(n):
                pairs[holding[i], c, b] += 1
    for i in range(BASES + 1):
        for c in range(len(place)):
            for b in range(N_THRESHOLDS - 2, -1, -1):
                pairs[i, c, b] += pairs[i, c, b + 1]


@numba.njit(cache=True, nogil=True)
def _best_pairs(
    fit: Fit,
    singles: np.ndarray,
    tokens: np.ndarray,
    pairs: np.ndarray,
    bases: np.ndarray,
    on: np.ndarray,
    least: int,
    members: np.ndarray,
    f: int,
    found: Findings,
) -> None:
    """Replace the best single concept by the best pair, where that is better by more than ``GAIN``.

    A pair with the set of tokens must be better than the set alone by as much.
    """
    best = found.f1[f] + GAIN
    for i in range(BASES + 1):
        is_set = i == BASES
        if not is_set and bases[i] < 0:
            continue
        base_hits, base_size, sizes = _base(fit, singles, tokens, is_set, bases[min(i, BASES - 1)], members)
        if is_set:
            best = max(best, found.token_f1[f] + GAIN)
        for d in range(len(fit.positives)):
            if not is_set and d == bases[i]:
                continue
            for b in range(N_THRESHOLDS):
                if on[b] < least:
                    break
                with_d = 2.0 * pairs[i, d, b] / (on[b] + sizes[d])
                without = 2.0 * (base_hits[b] - pairs[i, d, b]) / (on[b] + base_size - sizes[d])
                if max(with_d, without - NEGATION) > best:
                    best = max(with_d, without - NEGATION)
                    negated = without - NEGATION > with_d
                    found.first[f] = TOKENS if is_set else bases[i]
                    found.second[f] = -3 - d if negated else d
                    found.bucket[f], found.f1[f] = b, without if negated else with_d


@numba.njit(cache=True, nogil=True)
def _base(
    fit: Fit, singles: np.ndarray, tokens: np.ndarray, is_set: bool, concept: int, members: np.ndarray
) -> tuple[np.ndarray, int, np.ndarray]:
    """A base's true positives by threshold, its rows, and its rows together with every concept."""
    hits = np.zeros(N_THRESHOLDS, dtype=np.int64)
    size = 0
    sizes = np.zeros(len(fit.positives), dtype=np.int64)
    if not is_set:
        for d in range(len(sizes)):
            sizes[d] = fit.both[concept, d]
        return singles[concept], fit.positives[concept], sizes
    for token in members:
        if token < 0:
            break
        size += fit.token_counts[token]
        for b in range(N_THRESHOLDS):
            hits[b] += tokens[token, b]
        for d in range(len(sizes)):
            sizes[d] += fit.token_concepts[token, d]
    return hits, size, sizes
