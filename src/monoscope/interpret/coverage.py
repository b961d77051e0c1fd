"""Coverage and reconstruction of Python's grammar, after the board-game measures of Karvonen et al. 2024 (2408.00113).

A feature is on above ``t ·`` its maximum on the fit documents, t of 0, 0.1 … 0.9. *Coverage* asks of every concept how
well its best feature finds it: (feature, t) is chosen by F1 on the fit documents, and coverage is the mean of the F1 on
the test documents. *Reconstruction* predicts a concept wherever any feature is on that has at least ``PRECISE``
precision for it on the fit documents, at the one t that is best there; it is the mean F1 of that on the test documents.
Choosing and judging share no document, which is stricter than the paper. Intervals resample test documents.

A catalogue of a model with shuffled weights bounds both from below; a linear probe of the activations from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.concepts import ConceptBits
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate, Totals, sample
from monoscope.interpret.counting import N_THRESHOLDS
from monoscope.interpret.explainers.concepts import Index
from monoscope.interpret.search import bucketed

GRAMMAR = ("calls", "definitions", "expressions", "imports", "nesting", "statements")
PRECISE = 0.95
LEAST_ON = 20  # fit rows on which a feature must be on at t to count as precise
LEAST_ROWS = 200  # fit rows, and test rows, on which a concept must hold


@dataclass(frozen=True)
class Coverage:
    """Both scores; ``features[c]`` and ``thresholds[c]`` are what covers concept ``c``, ``f1[c]`` how well on test."""

    coverage: Estimate
    reconstruction: Estimate
    features: Int[np.ndarray, " n_concepts"]
    thresholds: Float[np.ndarray, " n_concepts"]
    f1: Float[np.ndarray, " n_concepts"]


def grammar(bits: ConceptBits, fit: Bool[np.ndarray, " n_rows"], test: Bool[np.ndarray, " n_rows"]) -> list[int]:
    """The numbers of the grammar's concepts that hold often enough in both splits.

    Raises:
        MonoscopeError: none does: the text is not Python.
    """
    chosen = [
        c for c, concept in enumerate(bits.concepts)
        if concept.family in GRAMMAR and min((bits.mask(c) & fit).sum(), (bits.mask(c) & test).sum()) >= LEAST_ROWS
    ]  # fmt: skip
    if not chosen:
        raise MonoscopeError("no concept of Python's grammar holds often enough in this text", fix="use Python source")
    return chosen


def cover(
    index: Index,
    bits: ConceptBits,
    concepts: Sequence[int],
    fit: Bool[np.ndarray, " n_rows"],
    test: Bool[np.ndarray, " n_rows"],
    seed: int = 0,
) -> Coverage:
    """Coverage and reconstruction of some concepts by the features of an index over the rows of ``bits``."""
    offsets, rows, levels = np.asarray(index.offsets), np.asarray(index.rows), _levels(index, fit)
    best = np.zeros((3, len(concepts)))
    precise = np.zeros((len(concepts), len(offsets) - 1), np.uint16)
    positives = np.array([(bits.mask(c) & fit).sum() for c in concepts])
    _choose(offsets, rows, levels, fit, *_listed(bits, concepts, fit), positives, best, precise)
    features, buckets = best[1].astype(np.int64), best[2].astype(np.int64)
    _, slots = np.unique(bits.slots, return_inverse=True)
    n_documents = int(slots.max()) + 1
    covered, rebuilt = (np.zeros((n, 3, n_documents, len(concepts))) for n in (1, N_THRESHOLDS))
    for c, concept in enumerate(concepts):  # one concept's rows at a time: nothing of rows by concepts is made
        said, held = np.zeros(len(fit), np.uint16), bits.mask(concept)
        _predict(offsets, rows, levels, precise[c], said)
        _tally(said, held, slots, rebuilt[..., c])
        alone = np.zeros_like(precise[c])
        alone[features[c]] = (best[0, c] > 0) << buckets[c]
        said[:] = 0
        _predict(offsets, rows, levels, alone, said)
        _tally(said >> buckets[c], held, slots, covered[..., c])
    of_fit, of_test = (np.isin(np.arange(n_documents), slots[part]) for part in (fit, test))
    at = int(np.argmax([mean_f1(_totals(r[:, of_fit]))["f1"][0] for r in rebuilt]))
    coverage, reconstruction = (
        sample(_sums(r[:, of_test]), mean_f1, seed)["f1"].estimate() for r in (covered[0], rebuilt[at])
    )
    return Coverage(
        coverage, reconstruction, features, buckets / N_THRESHOLDS, _of_totals(_totals(covered[0][:, of_test]))[0]
    )


def _sums(tallies: Float[np.ndarray, "3 n_documents n_concepts"]) -> dict[str, np.ndarray]:
    return dict(zip(("hits", "said", "positives"), tallies, strict=True))


def _totals(tallies: Float[np.ndarray, "3 n_documents n_concepts"]) -> dict[str, np.ndarray]:
    return {name: v.sum(0, keepdims=True) for name, v in _sums(tallies).items()}


def _listed(
    bits: ConceptBits, concepts: Sequence[int], fit: Bool[np.ndarray, " n_rows"]
) -> tuple[Int[np.ndarray, " n_rows_plus_1"], Int[np.ndarray, " n_set"]]:
    """The concepts of each fit row, row after row, by their place in ``concepts``; other rows have none."""
    held = [np.flatnonzero(bits.mask(c) & fit).astype(np.int32) for c in concepts]
    rows, place = np.concatenate(held), np.repeat(np.arange(len(concepts), dtype=np.int32), [len(h) for h in held])
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(fit)))])
    return starts, place[np.argsort(rows, kind="stable")]


def _levels(index: Index, fit: Bool[np.ndarray, " n_rows"]) -> Int[np.ndarray, " n_entries"]:
    """The bucket of every entry, by its feature's largest value on the fit rows; 255 where there is none."""
    offsets, values = np.asarray(index.offsets), np.asarray(index.values, dtype=np.float32)
    rows = np.asarray(index.rows)
    seen = np.where(fit[rows], values, 0)
    maxima = np.zeros(len(offsets) - 1)
    fires = np.flatnonzero(np.diff(offsets))
    if len(fires):
        maxima[fires] = np.maximum.reduceat(seen, offsets[fires])
    levels = bucketed(values, offsets, maxima)
    levels[np.repeat(maxima == 0, np.diff(offsets))] = 255
    return levels


def _of_totals(totals: Totals) -> Float[np.ndarray, "n n_concepts"]:
    both = totals["said"] + totals["positives"]
    return 2 * totals["hits"] / np.where(both > 0, both, 1)


def mean_f1(totals: Totals) -> dict[str, np.ndarray]:
    """The mean over concepts of ``2 · hits / (said + positives)``; 0 for a concept that neither holds nor is said."""
    return {"f1": _of_totals(totals).mean(1)}


@numba.njit(cache=True, nogil=True)
def _choose(
    offsets: np.ndarray,
    rows: np.ndarray,
    levels: np.ndarray,
    fit: np.ndarray,
    starts: np.ndarray,
    listed: np.ndarray,
    positives: np.ndarray,
    best: np.ndarray,
    precise: np.ndarray,
) -> None:
    """``best``: F1, feature, threshold of every concept; ``precise[c, f]``: a bit for each threshold precise enough."""
    n_concepts = len(positives)
    hits = np.zeros((N_THRESHOLDS, n_concepts), np.int64)
    on = np.zeros(N_THRESHOLDS, np.int64)
    for f in range(len(offsets) - 1):
        hits[:] = 0
        on[:] = 0
        for e in range(offsets[f], offsets[f + 1]):
            row, level = rows[e], levels[e]
            if level < N_THRESHOLDS and fit[row]:
                on[level] += 1
                for i in range(starts[row], starts[row + 1]):
                    hits[level, listed[i]] += 1
        for b in range(N_THRESHOLDS - 2, -1, -1):
            on[b] += on[b + 1]
            for c in range(n_concepts):
                hits[b, c] += hits[b + 1, c]
        for b in range(N_THRESHOLDS):
            for c in range(n_concepts):
                f1 = 2.0 * hits[b, c] / (on[b] + positives[c])
                if f1 > best[0, c]:
                    best[0, c], best[1, c], best[2, c] = f1, f, b
                if on[b] >= LEAST_ON and hits[b, c] >= PRECISE * on[b]:
                    precise[c, f] |= 1 << b


@numba.njit(cache=True, nogil=True)
def _predict(offsets: np.ndarray, rows: np.ndarray, levels: np.ndarray, precise: np.ndarray, said: np.ndarray) -> None:
    """``said[row]``: a bit for each threshold at which some feature is on that is precise there."""
    for f in range(len(offsets) - 1):
        if precise[f] != 0:
            for e in range(offsets[f], offsets[f + 1]):
                if levels[e] < N_THRESHOLDS:
                    said[rows[e]] |= precise[f] & ((1 << (levels[e] + 1)) - 1)


@numba.njit(cache=True, nogil=True)
def _tally(said: np.ndarray, held: np.ndarray, slots: np.ndarray, counts: np.ndarray) -> None:
    """Add up hits, predictions and rows that hold, by threshold and document: ``counts[t, what, document]``."""
    for row in range(len(said)):
        if said[row] == 0 and not held[row]:
            continue
        for t in range(len(counts)):
            on = (said[row] >> t) & 1
            counts[t, 0, slots[row]] += on * held[row]
            counts[t, 1, slots[row]] += on
            counts[t, 2, slots[row]] += held[row]
