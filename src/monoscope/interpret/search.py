"""The labels of best F1 on the fit rows, for every feature: sets of tokens, and claims of one, two and three literals.

A feature is *on* where its value is above ``t · max`` for a ``t`` of 0, 0.1 … 0.9. Each of its entries falls into one
of ten buckets by the highest such ``t``, and

    F1(claim, t) = 2 · true positives / (rows on at t + rows claimed).

The search is a beam over literals: the best concepts and the best set of tokens at every place come first; each of them
is extended by every concept and by the best set at every place, joined by *and*, *and not* and *or*; the best of those
are extended once more. One pass over the rows of a claim, and one over those of them where the feature is on, counts
everything that its extensions need. Where there are more rows than ``sampling`` keeps, both passes see a sample.

All that happens on the proposing documents. Which of the claims that are left is the label, and how many literals it
has, is decided on the choosing ones: each further literal must be worth ``GAIN`` of F1 there.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Float, Int

from monoscope.interpret.beam import BEAM, JOIN_COST, Beam, empty_beam, extend, first_beam, put
from monoscope.interpret.claims import FIRST, MOST_LITERALS, MOST_TOKENS, Claims, no_claims
from monoscope.interpret.counting import (
    LEAST_ON,
    LOCAL,
    N_THRESHOLDS,
    Entries,
    consider,
    count,
    count_all,
    from_above,
    no_counts,
    sampled,
    tally_tokens,
)  # fmt: skip
from monoscope.interpret.evidence import Fit
from monoscope.interpret.sampling import CHOOSING, PROPOSING, Rows, claimed, holds, room
from monoscope.interpret.token_sets import best_set
from monoscope.ops.kernels import inner

GAIN = 0.02  # what a further literal must add to F1 to be worth its words
PLAIN = 0.94  # features that a set of tokens describes so well have no room for more
PROMISING = 0.1  # a claim of less F1 is not extended,
NEAR = 0.3  # nor one of less than so much of the best claim's


class Findings(NamedTuple):
    """The best labels of each feature on the fit rows.

    ``claims[k]`` are the best claims of ``k + 1`` literals, ``proposed[k]`` their F1 on the proposing documents and
    ``chosen[k]`` on the choosing ones (0 where there is no such claim); ``length`` says which of them is the label, 0
    for the claim of one literal. ``tokens[f, b]`` is the best set of tokens at threshold ``b``, on all fit rows, padded
    with -1; that at ``token_bucket`` is the token label.
    """

    claims: tuple[Claims, ...]
    proposed: Float[np.ndarray, "most_literals n"]
    chosen: Float[np.ndarray, "most_literals n"]
    length: Int[np.ndarray, " n"]
    tokens: Int[np.ndarray, "n n_thresholds most_tokens"]
    token_bucket: Int[np.ndarray, " n"]
    token_f1: Float[np.ndarray, " n"]


def search(
    fit: Fit, offsets: Int[np.ndarray, " n_plus_1"], rows: Int[np.ndarray, " m"], buckets: Int[np.ndarray, " m"]
) -> Findings:
    """Search for the labels of ``n`` features; ``rows`` are fit rows (0, 1, …) with the bucket of each value."""
    n = len(offsets) - 1
    claims = tuple(no_claims(n) for _ in range(MOST_LITERALS))
    proposed, chosen = np.zeros((MOST_LITERALS, n)), np.zeros((MOST_LITERALS, n))
    tokens = np.full((n, N_THRESHOLDS, MOST_TOKENS), -1, dtype=np.int64)
    token_bucket, token_f1 = np.zeros(n, dtype=np.int64), np.zeros(n)
    _search(fit, offsets, rows, buckets, claims, proposed, chosen, tokens, token_bucket, token_f1)
    worth = chosen - GAIN * np.arange(MOST_LITERALS)[:, None]
    worth -= np.stack([JOIN_COST[c.joins].sum(1) for c in claims])
    return Findings(claims, proposed, chosen, worth.argmax(0), tokens, token_bucket, token_f1)


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
def _search(
    fit: Fit, offsets: np.ndarray, rows: np.ndarray, buckets: np.ndarray, claims: tuple[Claims, ...],
    proposed: np.ndarray, chosen: np.ndarray, tokens: np.ndarray, token_bucket: np.ndarray, token_f1: np.ndarray,
) -> None:  # fmt: skip
    n_concepts, (n_places, n_spellings) = len(fit.positives), fit.counts.shape
    of_all, of_claim = no_counts(n_concepts, n_places), no_counts(n_concepts, n_places)
    local = np.full((n_places, n_spellings), -1, dtype=np.int16)
    names = np.zeros((n_places, LOCAL), dtype=np.int64)
    n_local = np.zeros(n_places, dtype=np.int64)
    hits = np.zeros((n_spellings, N_THRESHOLDS + 1))  # the last column marks the tokens that were met
    work = room()
    for f in range(len(offsets) - 1):
        part = slice(offsets[f], offsets[f + 1])
        if part.start == part.stop:
            continue
        token_f1[f], token_bucket[f] = _best_tokens(fit, rows[part], buckets[part], hits, tokens[f])
        entries = sampled(fit, rows[part], buckets[part], PROPOSING)
        others = sampled(fit, rows[part], buckets[part], CHOOSING)
        if entries.on[0] == 0:
            continue
        consider(fit, entries, hits, local, names, n_local)
        count_all(fit, entries, local, names, n_local, of_all)
        beam = first_beam(entries, of_all, names, n_local)
        _settle(fit, others, beam, FIRST, f, claims[0], proposed, chosen, work)
        for length in range(1, MOST_LITERALS):
            if token_f1[f] > PLAIN:
                break
            following = empty_beam(BEAM[length])
            for i in range(len(beam.score)):
                if beam.score[i] >= max(PROMISING, NEAR * beam.score.max()):
                    n = count(fit, entries, beam.claims, i, local, n_local, of_claim, work)
                    extend(entries, of_all, of_claim, n, beam, i, length, names, n_local, following)
            beam = following
            _settle(fit, others, beam, length, f, claims[length], proposed, chosen, work)
        for p in range(n_places):
            for i in range(n_local[p]):
                local[p, names[p, i]] = -1


@inner
def _best_tokens(
    fit: Fit, rows: np.ndarray, buckets: np.ndarray, hits: np.ndarray, best: np.ndarray
) -> tuple[float, int]:
    """Write the best set of tokens at each threshold into ``best``; returns the best F1 and its threshold."""
    on, touched = np.zeros(N_THRESHOLDS), tally_tokens(fit.tokens[:, 0], rows, buckets, np.ones(len(rows)), hits)
    for b in buckets:
        on[b] += 1
    from_above(on)
    best_f1, best_bucket = 0.0, 0
    sizes, here = fit.own[touched].astype(np.float64), np.empty(len(touched))
    members = np.empty(MOST_TOKENS, dtype=np.int64)
    for b in range(N_THRESHOLDS):
        if on[b] < min(float(LEAST_ON), on[0]):
            break
        for i in range(len(touched)):
            here[i] = hits[touched[i], b]
        f1 = best_set(here, sizes, len(touched), 0.0, 0.0, on[b], 0.0, 0.0, members)
        for i in range(MOST_TOKENS):
            best[b, i] = touched[members[i]] if members[i] >= 0 else -1
        if f1 > best_f1:
            best_f1, best_bucket = f1, b
    for token in touched:
        hits[token] = 0
    return best_f1, best_bucket


@inner
def _settle(
    fit: Fit, others: Entries, beam: Beam, length: int, f: int, claims: Claims, proposed: np.ndarray,
    chosen: np.ndarray, work: Rows,
) -> None:  # fmt: skip
    """Write down, of the claims of a length, the one that does best on the documents that choose.

    What the joins cost counts. Where the feature is not on in those documents, it is the one that was proposed first.
    """
    within, one = np.empty(len(others.rows), dtype=np.bool_), np.empty(len(others.rows), dtype=np.bool_)
    best, best_f1, best_worth = int(np.argmax(beam.score)), 0.0, -1.0
    if beam.score[best] <= 0:
        return
    for i in range(len(beam.score)):
        if beam.score[i] < NEAR * beam.score.max():
            continue
        literals, joins, sets = beam.claims.literals[i], beam.claims.joins[i], beam.claims.sets[i]
        holds(fit, literals, joins, sets, others.rows, within, one)
        hits, bucket = 0.0, beam.claims.bucket[i]
        for e in range(len(within)):
            if within[e] and others.buckets[e] >= bucket:
                hits += others.weights[e]
        if hits > 0:
            rows = claimed(fit, literals, joins, sets, CHOOSING, work)[1]
            f1 = 2.0 * hits / (others.on[bucket] + rows)
            worth = f1 - (beam.f1[i] - beam.score[i])
            if worth > best_worth:
                best, best_f1, best_worth = i, f1, worth
    put(beam.claims, best, claims, f)
    proposed[length, f], chosen[length, f] = beam.f1[best], best_f1
