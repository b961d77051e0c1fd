"""What a search over labels needs to know of the text: counted once, used for every feature.

The rows are those of a catalogue. Labels are chosen on the rows of the split ``fit`` and tried on those of ``test``;
nothing in ``Fit`` depends on a test row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Bool, Int, UInt64

from monoscope.concepts import ConceptBits
from monoscope.errors import MonoscopeError

_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_POSITION = np.zeros(64, dtype=np.uint16)
for _bit in range(64):
    _POSITION[((0x03F79D71B4CB0A89 << _bit) & 0xFFFF_FFFF_FFFF_FFFF) >> 58] = _bit


class Fit(NamedTuple):
    """Counts over the rows on which labels are chosen.

    ``listed[starts[i]:starts[i + 1]]`` are the concepts of fit row ``i``; ``number[row]`` is a row's place among the
    fit rows, or -1. ``positives[c]`` and ``both[c, d]`` count rows on which concepts hold; ``token_counts[s]`` and
    ``token_concepts[s, c]`` rows of a spelling, alone and with a concept.
    """

    number: Int[np.ndarray, " n_rows"]
    listed: Int[np.ndarray, " n_set"]
    starts: Int[np.ndarray, " n_fit_plus_1"]
    spellings: Int[np.ndarray, " n_fit"]
    positives: Int[np.ndarray, " n_concepts"]
    both: Int[np.ndarray, "n_concepts n_concepts"]
    token_counts: Int[np.ndarray, " n_spellings"]
    token_concepts: Int[np.ndarray, "n_spellings n_concepts"]


class Test(NamedTuple):
    """The rows on which labels are tried, and where each spelling occurs among them.

    ``documents[i]`` numbers the test documents from 0; rows of spelling ``s`` are
    ``rows_of[token_starts[s]:token_starts[s + 1]]``.
    """

    number: Int[np.ndarray, " n_rows"]
    columns: UInt64[np.ndarray, "n_words n_test"]  # concept by concept, because a label is tried on every row
    spellings: Int[np.ndarray, " n_test"]
    documents: Int[np.ndarray, " n_test"]
    n_documents: int
    rows_of: Int[np.ndarray, " n_test"]
    token_starts: Int[np.ndarray, " n_spellings_plus_1"]


@dataclass(frozen=True)
class Evidence:
    """Concepts over the rows of a catalogue, split into the rows that choose labels and the rows that try them."""

    bits: ConceptBits
    fit: Fit
    test: Test


def gather(bits: ConceptBits, fit: Bool[np.ndarray, " n_rows"], test: Bool[np.ndarray, " n_rows"]) -> Evidence:
    """Count what the search needs.

    Raises:
        MonoscopeError: a split is empty, a row is in both, or a document is.
    """
    if not fit.any() or not test.any():
        raise MonoscopeError(
            "labels need text to be chosen on and other text to be tried on", fix="catalogue both splits"
        )
    if np.intersect1d(bits.slots[fit], bits.slots[test]).size:
        raise MonoscopeError("the same document would choose a label and try it", fix="split by document")
    return Evidence(bits, _fit(bits, fit), _test(bits, test))


def _number(mask: Bool[np.ndarray, " n_rows"]) -> Int[np.ndarray, " n_rows"]:
    return np.where(mask, np.cumsum(mask) - 1, -1).astype(np.int32)


def _fit(bits: ConceptBits, mask: Bool[np.ndarray, " n_rows"]) -> Fit:
    n, n_spellings = len(bits.concepts), len(bits.lexicon)
    rows = np.flatnonzero(mask)
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(np.bitwise_count(bits.words).sum(1, dtype=np.int64)[rows], out=starts[1:])
    listed = np.empty(int(starts[-1]), dtype=np.uint16)
    spellings = np.ascontiguousarray(bits.spellings[rows])
    positives, both = np.zeros(n, dtype=np.int64), np.zeros((n, n), dtype=np.int32)
    token_concepts = np.zeros((n_spellings, n), dtype=np.int32)
    _list(bits.words, rows, starts, listed)
    _count(listed, starts, spellings, positives, both, token_concepts)
    token_counts = np.bincount(spellings, minlength=n_spellings)
    return Fit(_number(mask), listed, starts, spellings, positives, both, token_counts, token_concepts)


def _test(bits: ConceptBits, mask: Bool[np.ndarray, " n_rows"]) -> Test:
    spellings = np.ascontiguousarray(bits.spellings[mask])
    slots, documents = np.unique(bits.slots[mask], return_inverse=True)
    counts = np.bincount(spellings, minlength=len(bits.lexicon))
    return Test(
        _number(mask),
        np.ascontiguousarray(bits.words[mask].T),
        spellings,
        documents.astype(np.int32),
        len(slots),
        np.argsort(spellings, kind="stable").astype(np.int32),
        np.concatenate([[0], np.cumsum(counts)]),
    )


@numba.njit(cache=True, nogil=True)
def _list(words: np.ndarray, rows: np.ndarray, starts: np.ndarray, listed: np.ndarray) -> None:
    """Write out the set bits of each row, ascending."""
    for i in range(len(rows)):
        place = starts[i]
        for w in range(words.shape[1]):
            word = words[rows[i], w]
            while word != 0:
                lowest = word & (~word + np.uint64(1))
                listed[place] = 64 * w + _POSITION[(lowest * _DE_BRUIJN) >> np.uint64(58)]
                place += 1
                word ^= lowest


@numba.njit(cache=True, nogil=True)
def _count(
    listed: np.ndarray,
    starts: np.ndarray,
    spellings: np.ndarray,
    positives: np.ndarray,
    both: np.ndarray,
    token_concepts: np.ndarray,
) -> None:
    for i in range(len(starts) - 1):
        for j in range(starts[i], starts[i + 1]):
            c = listed[j]
            positives[c] += 1
            token_concepts[spellings[i], c] += 1
            for k in range(starts[i], j + 1):
                both[c, listed[k]] += 1
    for c in range(len(positives)):
        for d in range(c):
            both[d, c] = both[c, d]
