"""A beam of claims: the best of one literal, and how each is extended by one more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from monoscope.interpret.claims import AND, AND_NOT, FIRST, MOST_LITERALS, MOST_TOKENS, NONE, OR, TOKENS, Claims
from monoscope.interpret.counting import LOCAL, N_THRESHOLDS, Counts, Entries, least_on
from monoscope.interpret.token_sets import best_set
from monoscope.ops.kernels import inner

JOIN_COST = np.array([0.0, 0.01, 0.01])  # what "and not" and "or" must add to F1 beyond any literal: they say less
TOKEN_GAIN = 0.006  # what a token must add to F1 to be named in a set
BEAM = (8, 6, 4)  # claims kept of each length
CONCEPTS_FIRST = 4  # of the first, at most so many are concepts, the others are sets of tokens
REACH = 3  # thresholds on either side of a claim's own that a further set may take


class Beam(NamedTuple):
    """Some claims with their F1, and that less what their joins cost; behind them room for one claim more."""

    score: np.ndarray
    f1: np.ndarray
    claims: Claims


@inner
def empty_beam(size: int) -> Beam:
    """Room for so many claims; a score of 0 marks an empty place."""
    return Beam(
        np.zeros(size), np.zeros(size),
        Claims(
            np.full((size + 1, MOST_LITERALS), NONE, dtype=np.int64),
            np.zeros((size + 1, MOST_LITERALS), dtype=np.int64),
            np.full((size + 1, MOST_LITERALS, MOST_TOKENS), -1, dtype=np.int64), np.zeros(size + 1, dtype=np.int64),
        ),
    )  # fmt: skip


@inner
def put(claims: Claims, i: int, into: Claims, k: int) -> None:
    """Write claim ``i`` over claim ``k`` of others. Number by number: slices take Numba seconds to compile."""
    into.bucket[k] = claims.bucket[i]
    for j in range(MOST_LITERALS):
        into.literals[k, j], into.joins[k, j] = claims.literals[i, j], claims.joins[i, j]
        for m in range(MOST_TOKENS):
            into.sets[k, j, m] = claims.sets[i, j, m]


@inner
def _signature(claims: Claims, i: int) -> int:
    """The same for claims that differ in the order of literals, or in the members of their sets, alone."""
    total = 0
    for j in range(MOST_LITERALS):
        literal, join = claims.literals[i, j], claims.joins[i, j]
        if literal != NONE:
            if j == 0:
                join = OR if claims.joins[i, 1] == OR else AND
            total += (literal + 1009) * (literal + 1009) * (2 * join + 1)
    return total


@inner
def _offer(
    beam: Beam, f1: float, score: float, base: Claims, i: int, length: int, literal: int, join: int,
    members: np.ndarray, bucket: int,
) -> None:  # fmt: skip
    """Keep a claim (claim ``i`` of ``base`` and one more literal) if it is better than the worst that is kept."""
    size, worst = len(beam.score), 0
    for k in range(size):
        worst = k if beam.score[k] < beam.score[worst] else worst
    if score <= beam.score[worst]:
        return
    put(base, i, beam.claims, size)
    beam.claims.literals[size, length], beam.claims.joins[size, length] = literal, join
    for m in range(MOST_TOKENS):
        beam.claims.sets[size, length, m] = members[m]
    beam.claims.bucket[size] = bucket
    signature = _signature(beam.claims, size)
    for k in range(size):
        if beam.score[k] > 0 and _signature(beam.claims, k) == signature:
            if beam.score[k] >= score:
                return
            worst = k
    beam.score[worst], beam.f1[worst] = score, f1
    put(beam.claims, size, beam.claims, worst)


@inner
def first_beam(entries: Entries, counts: Counts, names: np.ndarray, n_local: np.ndarray) -> Beam:
    """The best concepts and the best sets, one for each place."""
    concepts, sets = empty_beam(CONCEPTS_FIRST), empty_beam(BEAM[0] - CONCEPTS_FIRST)
    nothing, none = empty_beam(1).claims, np.full(MOST_TOKENS, -1, dtype=np.int64)
    on, members = entries.on, np.empty(MOST_TOKENS, dtype=np.int64)
    for c in range(len(counts.rows)):
        best, bucket = 0.0, FIRST
        for b in range(N_THRESHOLDS):
            if on[b] < least_on(on):
                break
            f1 = 2.0 * counts.hits[c, b] / (on[b] + counts.rows[c])
            if f1 > best:
                best, bucket = f1, b
        _offer(concepts, best, best, nothing, FIRST, FIRST, c, AND, none, bucket)
    for p in range(len(n_local)):
        for b in range(N_THRESHOLDS):
            if on[b] < least_on(on):
                break
            hits, rows, above = counts.token_hits[p, b], counts.token_rows[p], sets.score.min()
            f1 = best_set(hits, rows, n_local[p], 0.0, 0.0, on[b], TOKEN_GAIN, above, members)
            _offer(sets, f1, f1, nothing, FIRST, FIRST, TOKENS - p, AND, _named(names[p], members), b)
    beam = empty_beam(BEAM[0])
    _append(sets, beam, FIRST)
    _append(concepts, beam, len(sets.score))
    return beam


@inner
def _append(some: Beam, beam: Beam, first: int) -> None:
    for i in range(len(some.score)):
        beam.score[first + i], beam.f1[first + i] = some.score[i], some.f1[i]
        put(some.claims, i, beam.claims, first + i)


@inner
def _named(names: np.ndarray, members: np.ndarray) -> np.ndarray:
    found = np.full(MOST_TOKENS, -1, dtype=np.int64)
    for i in range(MOST_TOKENS):
        if members[i] >= 0:
            found[i] = names[members[i]]
    return found


@inner
def extend(
    entries: Entries, of_all: Counts, of_claim: Counts, n: float, beam: Beam, i: int, length: int,
    names: np.ndarray, n_local: np.ndarray, following: Beam,
) -> None:  # fmt: skip
    """Offer every extension of claim ``i`` of the beam by one literal."""
    on, bucket = entries.on, beam.claims.bucket[i]
    spent = beam.f1[i] - beam.score[i]
    low, high = max(0, bucket - REACH), min(N_THRESHOLDS, bucket + REACH + 1)
    none = np.full(MOST_TOKENS, -1, dtype=np.int64)
    for c in range(len(of_all.rows)):
        if _has(beam.claims.literals[i], c):
            continue
        for join in (AND, AND_NOT, OR):
            rows = _with(join, n, of_claim.rows[c], of_all.rows[c])
            best, at = 0.0, FIRST
            for b in range(N_THRESHOLDS):
                if on[b] < least_on(on):
                    break
                hits = _with(join, of_claim.all_hits[b], of_claim.hits[c, b], of_all.hits[c, b])
                if 2.0 * hits > best * (on[b] + rows):
                    best, at = 2.0 * hits / (on[b] + rows), b
            _offer(following, best, best - spent - JOIN_COST[join], beam.claims, i, length, c, join, none, at)
    _extend_by_sets(entries, of_all, of_claim, n, beam, i, length, names, n_local, following, low, high)


@inner
def _with(join: int, claim: float, both: float, other: float) -> float:
    """A count of a claim joined with a literal, from those of the claim, of both, and of the literal."""
    if join == AND:
        return both
    return claim - both if join == AND_NOT else claim + other - both


@inner
def _extend_by_sets(
    entries: Entries, of_all: Counts, of_claim: Counts, n: float, beam: Beam, i: int, length: int,
    names: np.ndarray, n_local: np.ndarray, following: Beam, low: int, high: int,
) -> None:  # fmt: skip
    on, spent = entries.on, beam.f1[i] - beam.score[i]
    members, hits, rows = np.empty(MOST_TOKENS, dtype=np.int64), np.empty(LOCAL), np.empty(LOCAL)
    for p in range(len(n_local)):
        if _has(beam.claims.literals[i], TOKENS - p):
            continue  # "or" would make a set larger than a set may be
        for join in (AND, AND_NOT, OR):
            cost = spent + JOIN_COST[join]
            _part(join, of_claim.token_rows[p], of_all.token_rows[p], n_local[p], rows)
            for b in range(low, high):
                if on[b] < least_on(on):
                    break
                _part(join, of_claim.token_hits[p, b], of_all.token_hits[p, b], n_local[p], hits)
                base_hits, base_rows = (0.0, 0.0) if join == AND else (of_claim.all_hits[b], n)
                above = following.score.min() + cost  # what is no better would not be kept
                f1 = best_set(hits, rows, n_local[p], base_hits, base_rows, on[b], TOKEN_GAIN, above, members)
                if members[0] >= 0:
                    _offer(
                        following, f1, f1 - cost, beam.claims, i, length, TOKENS - p, join,
                        _named(names[p], members), b,
                    )  # fmt: skip


@inner
def _part(join: int, both: np.ndarray, other: np.ndarray, n: int, part: np.ndarray) -> None:
    """Write what each of ``n`` tokens adds to a count, if it is in the set."""
    for i in range(n):
        if join == AND:
            part[i] = both[i]
        else:
            part[i] = -both[i] if join == AND_NOT else other[i] - both[i]


@inner
def _has(literals: np.ndarray, literal: int) -> bool:
    return bool((literals == literal).any())
