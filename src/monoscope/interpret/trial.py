"""How a label fares on held-out rows: precision, recall, F1, and an interval from resampled documents."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Float, Int

from monoscope.interpret.evidence import Test
from monoscope.interpret.search import NONE, TOKENS

RESAMPLES = 400
LEVEL = 0.95


class Claims(NamedTuple):
    """Labels to try: ``first`` and ``second`` and ``tokens`` as in ``search.Findings``, and a threshold."""

    first: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    tokens: Int[np.ndarray, "n most_tokens"]
    bucket: Int[np.ndarray, " n"]


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
    shape = (len(claims.first), test.n_documents)
    counts = Tally(*(np.zeros(shape, dtype=np.float32) for _ in range(3)))
    _tally(test, claims, offsets, rows, buckets, counts)
    return counts


def judge(counts: Tally, seed: int) -> Verdict:
    """Precision, recall and F1 of pooled counts, with the percentile interval of F1 over resampled documents.

    Documents, not tokens, are drawn with replacement, because the tokens of one document are not independent
    (Efron 1979). Every label meets the same resamples. What cannot be computed (nothing claimed, nothing on) is 0.
    """
    n_documents = counts.hits.shape[1]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_documents, np.full(n_documents, 1 / n_documents), size=RESAMPLES).astype(np.float32)
    hits, on, claimed = (part.sum(1, dtype=np.float64) for part in counts)
    drawn = _ratio(2 * (counts.hits @ weights.T), (counts.on + counts.claimed) @ weights.T)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return Verdict(
        _ratio(hits, claimed),
        _ratio(hits, on),
        _ratio(2 * hits, on + claimed),
        low,
        high,
        on.astype(np.int64),
        (counts.on > 0).sum(1),
    )


def _ratio(above: Float[np.ndarray, "*n"], below: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)


@numba.njit(cache=True, nogil=True)
def _tally(
    test: Test, claims: Claims, offsets: np.ndarray, rows: np.ndarray, buckets: np.ndarray, counts: Tally
) -> None:
    for i in range(len(claims.first)):
        first, second = claims.first[i], claims.second[i]
        for e in range(offsets[i], offsets[i + 1]):
            if buckets[e] < claims.bucket[i] or buckets[e] == 255:
                continue
            row = rows[e]
            counts.on[i, test.documents[row]] += 1
            if _holds(test, first, second, claims.tokens[i], row):
                counts.hits[i, test.documents[row]] += 1
        if first == TOKENS:
            for token in claims.tokens[i]:
                if token >= 0:
                    for j in range(test.token_starts[token], test.token_starts[token + 1]):
                        row = test.rows_of[j]
                        counts.claimed[i, test.documents[row]] += _literal(test, second, row)
        elif first != NONE:
            _claim_everywhere(test, first, second, counts.claimed[i])


@numba.njit(cache=True, nogil=True)
def _claim_everywhere(test: Test, first: int, second: int, claimed: np.ndarray) -> None:
    """Count the rows of a conjunction of concepts in each document."""
    other = second if second >= 0 else -3 - second if second < NONE else first
    word, bit = test.columns[first // 64], np.uint64(first % 64)
    other_word, other_bit = test.columns[other // 64], np.uint64(other % 64)
    flip = np.uint64(1 if second < NONE else 0)
    for row in range(len(word)):
        holds = (word[row] >> bit) & ((other_word[row] >> other_bit) ^ flip) & np.uint64(1)
        if holds != 0:
            claimed[test.documents[row]] += 1


@numba.njit(cache=True, nogil=True)
def _holds(test: Test, first: int, second: int, tokens: np.ndarray, row: int) -> bool:
    if first == NONE or not _literal(test, second, row):
        return False
    if first != TOKENS:
        return _literal(test, first, row)
    return bool(np.any(tokens == test.spellings[row]))


@numba.njit(cache=True, nogil=True)
def _literal(test: Test, literal: int, row: int) -> bool:
    if literal == NONE:
        return True
    concept = literal if literal >= 0 else -3 - literal
    bit = (test.columns[concept // 64, row] >> np.uint64(concept % 64)) & np.uint64(1)
    return (bit != 0) == (literal >= 0)
