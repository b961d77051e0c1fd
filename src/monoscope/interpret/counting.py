"""How often things hold where a feature is on: what the extensions of a claim are judged by."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from monoscope.interpret.claims import Claims
from monoscope.interpret.evidence import FOLDS, Fit
from monoscope.interpret.sampling import PROPOSING, Rows, claimed, holds
from monoscope.ops.kernels import inner

N_THRESHOLDS = 10
LEAST_ON = 50  # fit rows on at t: fewer say nothing about a label
ENTRIES = 300  # entries kept of each bucket
LOCAL = 256  # tokens considered at each place
SHARE = 0.004  # a token is considered if it makes up so much of what is on at some threshold


class Counts(NamedTuple):
    """Of some rows: how many there are and, at every threshold, on how many of them the feature is on.

    The same with every concept (``rows``, ``hits[c, t]``) and with every considered token of every place
    (``token_rows[p, i]``, ``token_hits[p, t, i]``).
    """

    all_hits: np.ndarray
    rows: np.ndarray
    hits: np.ndarray
    token_rows: np.ndarray
    token_hits: np.ndarray


class Entries(NamedTuple):
    """A feature's entries on the proposing or the choosing rows, or a sample of them: ``on`` counts all, by bucket."""

    rows: np.ndarray
    buckets: np.ndarray
    weights: np.ndarray
    on: np.ndarray


@inner
def no_counts(n_concepts: int, n_places: int) -> Counts:
    """Counts of 0."""
    return Counts(
        np.zeros(N_THRESHOLDS), np.zeros(n_concepts), np.zeros((n_concepts, N_THRESHOLDS)),
        np.zeros((n_places, LOCAL)), np.zeros((n_places, N_THRESHOLDS, LOCAL)),
    )  # fmt: skip


@inner
def least_on(on: np.ndarray) -> float:
    """The fewest proposing rows on at t that say something about a label."""
    return min(LEAST_ON * (FOLDS - 1) / FOLDS, on[0])


@numba.njit(cache=True, nogil=True)
def tally_tokens(
    tokens: np.ndarray, rows: np.ndarray, buckets: np.ndarray, weights: np.ndarray, hits: np.ndarray
) -> np.ndarray:
    """Add up ``hits[token, t]``, which must be 0 before; returns the tokens met."""
    touched = np.empty(len(rows), dtype=np.int64)
    n = 0
    for e in range(len(rows)):
        token = tokens[rows[e]]
        if token < 0:
            continue
        if hits[token, N_THRESHOLDS] == 0:
            hits[token, N_THRESHOLDS] = 1
            touched[n] = token
            n += 1
        hits[token, buckets[e]] += weights[e]
    for i in range(n):
        from_above(hits[touched[i]])
    return touched[:n]


@inner
def from_above(counts: np.ndarray) -> None:
    """Turn counts by bucket into counts at or above each threshold."""
    for b in range(N_THRESHOLDS - 2, -1, -1):
        counts[b] += counts[b + 1]


@inner
def sampled(fit: Fit, rows: np.ndarray, buckets: np.ndarray, proposes: bool) -> Entries:
    """At most ``ENTRIES`` entries of each bucket on the proposing (or the choosing) rows."""
    found = np.zeros(N_THRESHOLDS, dtype=np.int64)
    for e in range(len(rows)):
        found[buckets[e]] += fit.proposes[rows[e]] == proposes
    step = np.maximum(1, -(-found // ENTRIES))
    seen = np.zeros(N_THRESHOLDS, dtype=np.int64)
    n = int((-(-found // step)).sum())
    entries = Entries(
        np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(n), found.astype(np.float64)
    )  # fmt: skip
    i = 0
    for e in range(len(rows)):
        if fit.proposes[rows[e]] != proposes:
            continue
        b = buckets[e]
        if seen[b] % step[b] == 0:
            entries.rows[i], entries.buckets[i] = rows[e], b
            entries.weights[i] = found[b] / (-(-found[b] // step[b]))
            i += 1
        seen[b] += 1
    from_above(entries.on)
    return entries


@inner
def consider(
    fit: Fit, entries: Entries, hits: np.ndarray, local: np.ndarray, names: np.ndarray, n_local: np.ndarray
) -> None:
    """Number the tokens of each place that a set may hold: what the feature is often on at, and what is common."""
    for p in range(len(names)):
        n = 0
        touched = tally_tokens(fit.tokens[:, p], entries.rows, entries.buckets, entries.weights, hits)
        for token in touched:
            for b in range(N_THRESHOLDS):
                often = entries.on[b] >= least_on(entries.on) and hits[token, b] >= max(2.0, SHARE * entries.on[b])
                if often and n < LOCAL and local[p, token] < 0:
                    local[p, token], names[p, n] = n, token
                    n += 1
        for token in touched:
            hits[token] = 0
        for token in fit.common[p]:
            if n < LOCAL and local[p, token] < 0:
                local[p, token], names[p, n] = n, token
                n += 1
        n_local[p] = n


@inner
def count_all(
    fit: Fit, entries: Entries, local: np.ndarray, names: np.ndarray, n_local: np.ndarray, counts: Counts
) -> None:
    """Counts of all proposing rows."""
    for c in range(len(fit.positives)):
        counts.rows[c] = fit.positives[c]
    for p in range(len(names)):
        for i in range(n_local[p]):
            counts.token_rows[p, i] = fit.counts[p, names[p, i]]
    _count_hits(fit, entries, np.ones(len(entries.rows), dtype=np.bool_), local, n_local, counts)


@inner
def _count_hits(
    fit: Fit, entries: Entries, within: np.ndarray, local: np.ndarray, n_local: np.ndarray, counts: Counts
) -> None:
    counts.all_hits[:] = 0
    counts.hits[:] = 0
    for p in range(len(n_local)):
        counts.token_hits[p, :, : n_local[p]] = 0
    for e in range(len(entries.rows)):
        if not within[e]:
            continue
        row, b, weight = entries.rows[e], entries.buckets[e], entries.weights[e]
        counts.all_hits[b] += weight
        for j in range(fit.starts[row], fit.starts[row + 1]):
            counts.hits[fit.listed[j], b] += weight
        for p in range(len(n_local)):
            token = fit.tokens[row, p]
            if token >= 0 and local[p, token] >= 0:
                counts.token_hits[p, b, local[p, token]] += weight
    from_above(counts.all_hits)
    for c in range(len(counts.hits)):
        from_above(counts.hits[c])
    for p in range(len(n_local)):
        for b in range(N_THRESHOLDS - 2, -1, -1):
            for i in range(n_local[p]):
                counts.token_hits[p, b, i] += counts.token_hits[p, b + 1, i]


@inner
def count(
    fit: Fit, entries: Entries, claims: Claims, i: int, local: np.ndarray, n_local: np.ndarray, counts: Counts,
    work: Rows,
) -> float:  # fmt: skip
    """Counts of the proposing rows of a claim; returns how many there are."""
    literals, joins, sets = claims.literals[i], claims.joins[i], claims.sets[i]
    n, total = claimed(fit, literals, joins, sets, PROPOSING, work)
    counts.rows[:] = 0
    for p in range(len(n_local)):
        counts.token_rows[p, : n_local[p]] = 0
    for k in range(n):
        row, weight = work.rows[k], work.weights[k]
        for j in range(fit.starts[row], fit.starts[row + 1]):
            counts.rows[fit.listed[j]] += weight
        for p in range(len(n_local)):
            token = fit.tokens[row, p]
            if token >= 0 and local[p, token] >= 0:
                counts.token_rows[p, local[p, token]] += weight
    within, one = np.empty(len(entries.rows), dtype=np.bool_), np.empty(len(entries.rows), dtype=np.bool_)
    holds(fit, literals, joins, sets, entries.rows, within, one)
    _count_hits(fit, entries, within, local, n_local, counts)
    return total
