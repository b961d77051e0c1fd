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
from monoscope.interpret.explainers.concepts import Index
from monoscope.interpret.search import N_THRESHOLDS, bucketed

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
    holds = np.stack([bits.mask(c) for c in concepts])  # a byte for each row and concept
    offsets, rows = np.asarray(index.offsets), np.asarray(index.rows)
    levels = _levels(index, fit)
    n = len(offsets) - 1
    best, precise = np.zeros((3, len(concepts))), np.zeros((n, len(concepts)), np.uint16)
    _choose(offsets, rows, levels, fit, np.ascontiguousarray(holds.T), (holds & fit).sum(1), best, precise)
    features, buckets = best[1].astype(np.int64), best[2].astype(np.int64)
    _, slots = np.unique(bits.slots[test], return_inverse=True)
    number = np.where(test, np.cumsum(test) - 1, -1)
    positives = _by_document(holds[:, test], slots)
    covered = np.zeros((len(concepts), int(test.sum())), bool)
    for c, (f, b) in enumerate(zip(features, buckets, strict=True)):
        part = slice(int(offsets[f]), int(offsets[f + 1]))
        on = number[rows[part][(levels[part] >= b) & (levels[part] < N_THRESHOLDS)]]
        covered[c, on[on >= 0]] = best[0, c] > 0
    coverage = _f1(holds[:, test], covered, positives, slots, seed)
    said = np.zeros((len(concepts), len(fit)), np.uint16)
    _predict(offsets, rows, levels, precise, said)
    at = int(np.argmax([_mean_f1(holds[:, fit], (said[:, fit] >> t) & 1 == 1) for t in range(N_THRESHOLDS)]))
    rebuilt = _f1(holds[:, test], (said[:, test] >> at) & 1 == 1, positives, slots, seed)
    return Coverage(coverage[0], rebuilt[0], features, buckets / N_THRESHOLDS, coverage[1])


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


def _by_document(marks: Bool[np.ndarray, "n_concepts n"], slots: Int[np.ndarray, " n"]) -> Float[np.ndarray, "docs c"]:
    return np.stack([np.bincount(slots, m, minlength=int(slots.max()) + 1) for m in marks], 1)


def _f1(
    holds: Bool[np.ndarray, "n_concepts n"],
    said: Bool[np.ndarray, "n_concepts n"],
    positives: Float[np.ndarray, "n_documents n_concepts"],
    slots: Int[np.ndarray, " n"],
    seed: int,
) -> tuple[Estimate, Float[np.ndarray, " n_concepts"]]:
    """The mean F1 over concepts, resampled by document, and each concept's."""
    sums = {"hits": _by_document(holds & said, slots), "said": _by_document(said, slots), "positives": positives}
    total = {name: v.sum(0, keepdims=True) for name, v in sums.items()}
    return sample(sums, mean_f1, seed)["f1"].estimate(), _of_totals(total)[0]


def _of_totals(totals: Totals) -> Float[np.ndarray, "n n_concepts"]:
    both = totals["said"] + totals["positives"]
    return 2 * totals["hits"] / np.where(both > 0, both, 1)


def mean_f1(totals: Totals) -> dict[str, np.ndarray]:
    """The mean over concepts of ``2 · hits / (said + positives)``; 0 for a concept that neither holds nor is said."""
    return {"f1": _of_totals(totals).mean(1)}


def _mean_f1(holds: Bool[np.ndarray, "n_concepts n"], said: Bool[np.ndarray, "n_concepts n"]) -> float:
    sums = {"hits": (holds & said).sum(1)[None], "said": said.sum(1)[None], "positives": holds.sum(1)[None]}
    return float(mean_f1(sums)["f1"][0])


@numba.njit(cache=True, nogil=True)
def _choose(
    offsets: np.ndarray,
    rows: np.ndarray,
    levels: np.ndarray,
    fit: np.ndarray,
    holds: np.ndarray,
    positives: np.ndarray,
    best: np.ndarray,
    precise: np.ndarray,
) -> None:
    """``best``: F1, feature, threshold of every concept; ``precise[f, c]``: a bit for each threshold precise enough."""
    n_concepts = len(positives)
    hits = np.zeros((N_THRESHOLDS, n_concepts), np.int32)
    on = np.zeros(N_THRESHOLDS, np.int64)
    for f in range(len(offsets) - 1):
        hits[:] = 0
        on[:] = 0
        for e in range(offsets[f], offsets[f + 1]):
            if levels[e] < N_THRESHOLDS and fit[rows[e]]:
                on[levels[e]] += 1
                for c in range(n_concepts):
                    hits[levels[e], c] += holds[rows[e], c]
        for b in range(N_THRESHOLDS - 2, -1, -1):
            on[b] += on[b + 1]
            for c in range(n_concepts):
                hits[b, c] += hits[b + 1, c]
        for c in range(n_concepts):
            for b in range(N_THRESHOLDS):
                f1 = 2.0 * hits[b, c] / (on[b] + positives[c])
                if f1 > best[0, c]:
                    best[0, c], best[1, c], best[2, c] = f1, f, b
                if on[b] >= LEAST_ON and hits[b, c] >= PRECISE * on[b]:
                    precise[f, c] |= 1 << b


@numba.njit(cache=True, nogil=True)
def _predict(offsets: np.ndarray, rows: np.ndarray, levels: np.ndarray, precise: np.ndarray, said: np.ndarray) -> None:
    """``said[c, row]``: a bit for each threshold at which some feature that is precise for ``c`` is on."""
    for f in range(len(offsets) - 1):
        for c in range(precise.shape[1]):
            if precise[f, c] == 0:
                continue
            for e in range(offsets[f], offsets[f + 1]):
                if levels[e] < N_THRESHOLDS:
                    said[c, rows[e]] |= precise[f, c] & ((1 << (levels[e] + 1)) - 1)
