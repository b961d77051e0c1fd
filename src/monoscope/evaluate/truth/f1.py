"""How well the learned features that true features are matched with say when these fire."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share
from monoscope.types import Code

MATCHED = True


def measure(case: Case) -> dict[str, Estimate]:
    """``f1``: F1 of "the match is active above a threshold" for "the true feature fires", mean over true features.

    The threshold is the best on the first half of the rows, the score that on the second half. True features that do
    not fire there are left out; one without a match scores 0. Interval over features.
    """
    half = len(case.truth) // 2
    true = case.matching.true
    detectors = case.matching.learned[true]
    firings = np.bincount(case.truth[half:].indices.numpy(), minlength=case.world.n_true)
    thresholds = best_thresholds(*detections(case.code[:half], case.truth[:half], detectors, true))
    scores = np.zeros(case.world.n_true)
    scores[true] = f1_above(thresholds, *detections(case.code[half:], case.truth[half:], detectors, true))
    return {"f1": share(scores[firings > 0])}


Detections = tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"], Bool[np.ndarray, " m"], Int[np.ndarray, " n_pairs"]]


def detections(
    code: Code, truth: Code, learned: Int[np.ndarray, " n_pairs"], true: Int[np.ndarray, " n_pairs"]
) -> Detections:
    """For each activation of a learned feature of a pair: the pair, the value, whether the true feature fires there.

    A learned feature is in one pair at most. Last comes how often each pair's true feature fires.
    """
    pair_of = np.full(code.n_features, -1)
    pair_of[learned] = np.arange(len(learned))
    pairs = pair_of[code.indices.numpy()]
    inside = pairs >= 0
    pairs, values, rows = pairs[inside], code.values.numpy()[inside], code.rows().numpy()[inside]
    n = truth.n_features
    fired = np.sort(truth.rows().numpy() * n + truth.indices.numpy())
    asked = rows * n + true[pairs]
    place = np.minimum(np.searchsorted(fired, asked), max(0, len(fired) - 1))
    hits = fired[place] == asked if len(fired) else np.zeros(len(asked), bool)
    return pairs, values, hits, np.bincount(truth.indices.numpy(), minlength=n)[true]


def best_thresholds(
    pairs: Int[np.ndarray, " m"],
    values: Float[np.ndarray, " m"],
    hits: Bool[np.ndarray, " m"],
    firings: Int[np.ndarray, " n_pairs"],
) -> Float[np.ndarray, " n_pairs"]:
    """For each pair the value from which on (inclusive) detections have the best F1; 0 where there are none."""
    order = np.lexsort((-values, pairs))
    pairs, values, hits = pairs[order], values[order], hits[order]
    starts = np.searchsorted(pairs, np.arange(len(firings)))
    seen = np.arange(1, len(pairs) + 1) - starts[pairs]
    total = np.concatenate([[0], np.cumsum(hits)])
    right = total[1:] - total[starts[pairs]]
    f1 = 2 * right / (seen + firings[pairs])
    last_of_ties = np.ones(len(pairs), bool)
    last_of_ties[:-1] = (pairs[1:] != pairs[:-1]) | (values[1:] != values[:-1])
    f1[~last_of_ties] = -1
    best = np.lexsort((-f1, pairs))
    found = np.zeros(len(firings))
    present, first = np.unique(pairs[best], return_index=True)
    found[present] = values[best[first]]
    return found


def f1_above(
    thresholds: Float[np.ndarray, " n_pairs"],
    pairs: Int[np.ndarray, " m"],
    values: Float[np.ndarray, " m"],
    hits: Bool[np.ndarray, " m"],
    firings: Int[np.ndarray, " n_pairs"],
) -> Float[np.ndarray, " n_pairs"]:
    """Each pair's F1 at its threshold (inclusive); 0 where neither fires."""
    above = values >= thresholds[pairs]
    said = np.bincount(pairs[above], minlength=len(firings))
    right = np.bincount(pairs[above & hits], minlength=len(firings))
    return 2 * right / np.maximum(said + firings, 1)
