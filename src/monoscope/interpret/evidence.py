"""What a search over labels needs to know of the text: counted once, used for every feature.

The rows are those of a catalogue. Labels are chosen on the rows of the split ``fit`` and tried on those of ``test``;
nothing in ``Fit`` depends on a test row. The fit documents are divided once more: three of four *propose* labels, the
fourth *chooses* how many literals one should have, so that a longer label is not taken for what it remembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from monoscope.concepts import ConceptBits
from monoscope.errors import MonoscopeError
from monoscope.interpret.surroundings import surroundings

FOLDS = 4  # one fit document of so many chooses, the others propose
LISTED = 1 << 15  # rows kept of each concept: enough to estimate how many rows of it have another one
COMMON = 40  # tokens of each place that may be excluded though the feature never fires there

_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_POSITION = np.zeros(64, dtype=np.uint16)
for _bit in range(64):
    _POSITION[((0x03F79D71B4CB0A89 << _bit) & 0xFFFF_FFFF_FFFF_FFFF) >> 58] = _bit


class Fit(NamedTuple):
    """The rows on which labels are chosen, and where everything is among them.

    ``number[row]`` is a row's place among the fit rows, or -1. ``listed[starts[i]:starts[i + 1]]`` are the concepts of
    fit row ``i``, ascending; ``tokens[i, p]`` the spelling at its place ``p``. ``positives[c]`` counts the proposing
    rows of a concept, ``counts[p, s]`` those of a spelling at a place, ``own[s]`` the fit rows of a spelling. Rows of
    concept ``c``, or every ``stride[c]``-th of them, are ``rows_of[row_starts[c]:row_starts[c + 1]]``; rows with ``s``
    at place ``p`` are ``token_rows[p, token_starts[p, s]:token_starts[p, s + 1]]``.
    """

    number: Int[np.ndarray, " n_rows"]
    listed: Int[np.ndarray, " n_set"]
    starts: Int[np.ndarray, " n_fit_plus_1"]
    tokens: Int[np.ndarray, "n_fit n_places"]
    proposes: Bool[np.ndarray, " n_fit"]
    positives: Float[np.ndarray, " n_concepts"]
    counts: Float[np.ndarray, "n_places n_spellings"]
    own: Int[np.ndarray, " n_spellings"]
    rows_of: Int[np.ndarray, " n_kept"]
    row_starts: Int[np.ndarray, " n_concepts_plus_1"]
    stride: Int[np.ndarray, " n_concepts"]
    token_rows: Int[np.ndarray, "n_places n_fit"]
    token_starts: Int[np.ndarray, "n_places n_spellings_plus_1"]
    common: Int[np.ndarray, "n_places n_common"]


class Test(NamedTuple):
    """The rows on which labels are tried, and where each spelling occurs among them.

    ``documents[i]`` numbers the test documents from 0, ``around[i]`` is the row's ``surroundings``; rows with spelling
    ``s`` at place ``p`` are ``token_rows[p, token_starts[p, s]:token_starts[p, s + 1]]``.
    """

    number: Int[np.ndarray, " n_rows"]
    columns: UInt64[np.ndarray, "n_words n_test"]  # concept by concept, because a label is tried on every row
    tokens: Int[np.ndarray, "n_places n_test"]
    documents: Int[np.ndarray, " n_test"]
    around: UInt64[np.ndarray, " n_test"]
    n_documents: int
    token_rows: Int[np.ndarray, "n_places n_test"]
    token_starts: Int[np.ndarray, "n_places n_spellings_plus_1"]


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
    _list(bits.words, rows, starts, listed)
    tokens = np.ascontiguousarray(bits.places[rows])
    documents = np.unique(bits.slots[rows], return_inverse=True)[1]
    proposes = documents % FOLDS != FOLDS - 1
    all_rows = np.bincount(listed, minlength=n)
    stride = np.maximum(1, -(-all_rows // LISTED))
    row_starts = np.concatenate([[0], np.cumsum(-(-all_rows // stride))])
    rows_of = np.empty(int(row_starts[-1]), dtype=np.int32)
    positives = np.zeros(n)
    _locate(listed, starts, proposes, stride, row_starts, rows_of, positives)
    counts = np.stack([np.bincount(p[proposes & (p >= 0)], minlength=n_spellings) for p in tokens.T])
    token_rows, token_starts = _postings(tokens.T, n_spellings)
    common = np.ascontiguousarray(np.argsort(-counts, axis=1, kind="stable")[:, :COMMON])
    own = np.bincount(tokens[:, 0], minlength=n_spellings)
    return Fit(
        _number(mask), listed, starts, tokens, proposes, positives, counts.astype(np.float64), own,
        rows_of, row_starts, stride, token_rows, token_starts, common,
    )  # fmt: skip


def _test(bits: ConceptBits, mask: Bool[np.ndarray, " n_rows"]) -> Test:
    tokens = np.ascontiguousarray(bits.places[mask].T)
    slots, documents = np.unique(bits.slots[mask], return_inverse=True)
    return Test(
        _number(mask),
        np.ascontiguousarray(bits.words[mask].T),
        tokens,
        documents.astype(np.int32),
        surroundings(tokens[0], documents),
        len(slots),
        *_postings(tokens, len(bits.lexicon)),
    )


def _postings(
    tokens: Int[np.ndarray, "n_places n"], n_spellings: int
) -> tuple[Int[np.ndarray, "n_places n"], Int[np.ndarray, "n_places n_spellings_plus_1"]]:
    """The rows sorted by what stands at each place, and where each spelling begins; rows with nothing come first."""
    rows = np.stack([np.argsort(p, kind="stable") for p in tokens]).astype(np.int32)
    starts = np.stack([np.cumsum(np.bincount(p + 1, minlength=n_spellings + 1)) for p in tokens])
    return rows, starts


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
def _locate(
    listed: np.ndarray,
    starts: np.ndarray,
    proposes: np.ndarray,
    stride: np.ndarray,
    row_starts: np.ndarray,
    rows_of: np.ndarray,
    positives: np.ndarray,
) -> None:
    """Every ``stride``-th row of each concept, and how many proposing rows it has."""
    seen = np.zeros(len(positives), dtype=np.int64)
    for i in range(len(starts) - 1):
        for j in range(starts[i], starts[i + 1]):
            c = listed[j]
            if seen[c] % stride[c] == 0:
                rows_of[row_starts[c] + seen[c] // stride[c]] = i
            seen[c] += 1
            positives[c] += proposes[i]
