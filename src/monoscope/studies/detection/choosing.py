"""By what detectors are chosen: how well scores tell texts apart, above all where false alarms are few.

The mean of two numbers between 0 and 1: the area under the ROC curve, and the mean recall over false-positive rates up
to ``WIDE`` times the one that is wanted.
"""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Bool, Float, Int

WIDE = 2
FOLDS = 3


def merit(scores: Float[np.ndarray, "n m"], labels: Bool[np.ndarray, " n"], fpr: float) -> Float[np.ndarray, " m"]:
    """How good each column of scores is; equal scores are told apart by a coin."""
    columns = np.ascontiguousarray(np.asarray(scores, np.float64).T)
    found: np.ndarray = _merits(columns, np.argsort(columns, axis=1), labels, min(1.0, WIDE * fpr))
    return found


@numba.njit(cache=True, nogil=True)
def _merits(columns: np.ndarray, orders: np.ndarray, labels: np.ndarray, most: float) -> np.ndarray:
    """Walk down the scores of each column; runs of equal ones are straight pieces of the curve."""
    m, n = columns.shape
    positives = labels.sum()
    negatives = n - positives
    found = np.empty(m)
    for c in range(m):
        column, order = columns[c], orders[c]
        x = y = area = part = 0.0
        hits = alarms = 0
        for j in range(n - 1, -1, -1):
            i = order[j]
            if labels[i]:
                hits += 1
            else:
                alarms += 1
            if j > 0 and column[order[j - 1]] == column[i]:
                continue
            x2, y2 = alarms / negatives, hits / positives
            area += (x2 - x) * (y + y2) / 2
            if x < most and x2 > x:
                end = min(x2, most)
                part += (end - x) * (y + y + (y2 - y) * (end - x) / (x2 - x)) / 2
            x, y = x2, y2
        found[c] = (area + part / most) / 2
    return found


def folds(clusters: Int[np.ndarray, " n"], labels: Bool[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
    """A fold for each text, near-duplicates together, clusters that hold a positive dealt out before the others."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(clusters))
    hold = np.isin(names, clusters[labels])
    dealt = np.concatenate([names[hold], names[~hold]])
    place = {int(name): i % FOLDS for i, name in enumerate(dealt)}
    return np.array([place[int(c)] for c in clusters])
