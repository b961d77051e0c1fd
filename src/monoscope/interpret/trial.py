"""How a label fares on held-out rows: precision, recall, F1, and an interval from resampled documents."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Float, Int

from monoscope.evaluate.intervals import tail
from monoscope.interpret.claims import AND, AND_NOT, MOST_LITERALS, NONE, OR, TOKENS, Claims
from monoscope.interpret.evidence import Test

RESAMPLES = 400
_BLOCK = 1 << 12


class Tally(NamedTuple):
    """For every label and test document: rows where both hold, rows where the feature is on, rows of the label."""

    hits: Float[np.ndarray, "n n_documents"]
    on: Float[np.ndarray, "n n_documents"]
    claimed: Float[np.ndarray, "n n_documents"]


class Verdict(NamedTuple):
    """What the test rows say of every label."""

    precision: Float[np.ndarray, " n"]
    recall: Float[np.ndarray, " n"]
    f1: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    support: Int[np.ndarray, " n"]  # rows on which the feature is on
    documents: Int[np.ndarray, " n"]  # documents in which it is


def tally(
    test: Test,
    claims: Claims,
    offsets: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " m"],
    buckets: Int[np.ndarray, " m"],
) -> Tally:
    """Count per document; ``rows`` are test rows (0, 1, …), one stretch per label."""
    shape = (len(claims.bucket), test.n_documents)
    counts = Tally(*(np.zeros(shape, dtype=np.float32) for _ in range(3)))
    _tally(test, claims, offsets, rows, buckets, counts)
    return counts


def judge(counts: Tally, seed: int) -> Verdict:
    """Precision, recall and F1 of pooled counts, with the expanded percentile interval of F1 over resampled documents.

    Documents, not tokens, are drawn with replacement, because the tokens of one document are not independent
    (Efron 1979). Every label meets the same resamples. What cannot be computed (nothing claimed, nothing on) is 0.
    """
    n_documents = counts.hits.shape[1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_documents, np.full(n_documents, 1 / n_documents), size=RESAMPLES).astype(np.float32)
    hits, on, claimed = (part.sum(1, dtype=np.float64) for part in counts)
    drawn = _ratio(2 * (counts.hits @ weights.T), (counts.on + counts.claimed) @ weights.T)
    low, high = np.quantile(drawn, [tail(n_documents), 1 - tail(n_documents)], axis=1)
    return Verdict(
        _ratio(hits, claimed),
        _ratio(hits, on),
        _ratio(2 * hits, on + claimed),
        low,
        high,
        on.astype(np.int64),
        (counts.on > 0).sum(1),
    )


def _ratio(a: Float[np.ndarray, "*shape"], b: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """``a / b``, and 0 where both are 0."""
    return a / np.where(b > 0, b, 1)


@numba.njit(cache=True, nogil=True)
def _tally(
    test: Test, claims: Claims, offsets: np.ndarray, rows: np.ndarray, buckets: np.ndarray, counts: Tally
) -> None:
    member = np.zeros((MOST_LITERALS, test.token_starts.shape[1]), dtype=np.bool_)
    for i in range(len(claims.bucket)):
        literals, joins = claims.literals[i], claims.joins[i]
        _mark(member, claims.sets[i], True)
        for e in range(offsets[i], offsets[i + 1]):
            if buckets[e] < claims.bucket[i] or buckets[e] == 255:
                continue
            row = rows[e]
            counts.on[i, test.documents[row]] += 1
            if _holds(test, literals, joins, member, row):
                counts.hits[i, test.documents[row]] += 1
        _claim_everywhere(test, literals, joins, claims.sets[i], member, counts.claimed[i])
        _mark(member, claims.sets[i], False)


@numba.njit(cache=True, nogil=True)
def _mark(member: np.ndarray, sets: np.ndarray, value: bool) -> None:
    for j in range(MOST_LITERALS):
        for token in sets[j]:
            if token >= 0:
                member[j, token] = value


@numba.njit(cache=True, nogil=True)
def _claim_everywhere(
    test: Test, literals: np.ndarray, joins: np.ndarray, sets: np.ndarray, member: np.ndarray, claimed: np.ndarray
) -> None:
    """Count the rows of a claim in each document: the rows of a set that it needs, where it needs one, else all."""
    needed = -1
    for j in range(MOST_LITERALS):
        if j > 0 and joins[j] == OR:
            needed = -1
        elif literals[j] <= TOKENS and joins[j] == AND:
            needed = j
    if needed < 0:
        _claim_rows(test, literals, joins, member, claimed)
        return
    place = TOKENS - literals[needed]
    for token in sets[needed]:
        if token >= 0:
            for k in range(test.token_starts[place, token], test.token_starts[place, token + 1]):
                row = test.token_rows[place, k]
                claimed[test.documents[row]] += _holds(test, literals, joins, member, row)


@numba.njit(cache=True, nogil=True)
def _claim_rows(test: Test, literals: np.ndarray, joins: np.ndarray, member: np.ndarray, claimed: np.ndarray) -> None:
    """The same by going through all rows, literal by literal over a block of them, which is quick."""
    held = np.empty(_BLOCK, dtype=np.bool_)
    for first in range(0, len(test.documents), _BLOCK):
        n = min(_BLOCK, len(test.documents) - first)
        held[:] = False
        for j in range(MOST_LITERALS):
            literal, join = literals[j], joins[j]
            if literal == NONE:
                break
            if literal > NONE:
                column = test.columns[literal // 64, first : first + n]
                bit = np.uint64(1) << np.uint64(literal % 64)
                for i in range(n):
                    held[i] = _joined(held[i], column[i] & bit != np.uint64(0), j, join)
            else:
                tokens, members = test.tokens[TOKENS - literal, first : first + n], member[j]
                for i in range(n):
                    held[i] = _joined(held[i], members[tokens[i]], j, join)
        document, found = test.documents[first], 0
        for i in range(n):  # rows of a document follow each other: add them up before writing
            if test.documents[first + i] != document:
                claimed[document] += found
                document, found = test.documents[first + i], 0
            found += held[i]
        claimed[document] += found


@numba.njit(cache=True, nogil=True, inline="always")
def _joined(before: bool, one: bool, j: int, join: int) -> bool:
    if j == 0:
        return one
    if join == OR:
        return before | one
    return before & (one != (join == AND_NOT))


@numba.njit(cache=True, nogil=True)
def _holds(test: Test, literals: np.ndarray, joins: np.ndarray, member: np.ndarray, row: int) -> bool:
    held = False
    for j in range(MOST_LITERALS):
        literal = literals[j]
        if literal == NONE:
            break
        if j > 0 and held == (joins[j] == OR):
            continue  # this literal cannot change what holds
        if literal > NONE:
            one = (test.columns[literal // 64, row] >> np.uint64(literal % 64)) & np.uint64(1) != np.uint64(0)
        else:
            token = test.tokens[TOKENS - literal, row]
            one = token >= 0 and member[j, token]
        held = one != (joins[j] == AND_NOT) if j > 0 else one
    return held
