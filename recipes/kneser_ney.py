"""Interpolated modified Kneser-Ney trigrams (Chen & Goodman 1999) over token ids, by sorting: the baseline to beat.

Counts are arrays of sorted keys, so tens of millions of tokens take seconds and a few GB.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


class Level:
    """One order of the model: for every history, its smoothed distribution given the order below.

    Built from the distinct n-grams' keys ``history * vocabulary + token`` (sorted) and their counts.
    """

    def __init__(self, keys: Int[np.ndarray, " n"], counts: Int[np.ndarray, " n"], vocabulary: int) -> None:
        self.keys, self.counts, self.vocabulary = keys, counts, vocabulary
        n1, n2, n3, n4 = (int((counts == i).sum()) for i in (1, 2, 3, 4))
        y = n1 / max(1, n1 + 2 * n2)
        wanted = [1 - 2 * y * n2 / max(1, n1), 2 - 3 * y * n3 / max(1, n2), 3 - 4 * y * n4 / max(1, n3)]
        # at least a tenth, so that what was never seen keeps some probability where the counts of counts are degenerate
        self.discounts = np.array([0.0, *(min(max(d, 0.1), i + 1.0) for i, d in enumerate(wanted))])
        self.histories, first = np.unique(keys // vocabulary, return_index=True)
        self.totals = np.add.reduceat(counts, first).astype(np.float64)
        taken = np.add.reduceat(self.discounts[np.minimum(counts, 3)], first)
        self.left = taken / self.totals  # what discounting sets free, as a share

    def probability(
        self, history: Int[np.ndarray, " m"], token: Int[np.ndarray, " m"], lower: Float[np.ndarray, " m"]
    ) -> Float[np.ndarray, " m"]:
        """P(token | history), given the lower order's probabilities; unknown histories fall through to those."""
        at = np.minimum(np.searchsorted(self.histories, history), len(self.histories) - 1)
        known = self.histories[at] == history
        key = history * self.vocabulary + token
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        count = np.where(self.keys[place] == key, self.counts[place], 0)
        own = (count - self.discounts[np.minimum(count, 3)]) / self.totals[at]
        return np.where(known, own + self.left[at] * lower, lower)


class KneserNey:
    """A trigram model of token sequences. ``vocabulary`` counts the ids; documents begin with two boundary marks."""

    def __init__(self, documents: list[Int[np.ndarray, " n"]], vocabulary: int) -> None:
        self.vocabulary = v = vocabulary + 1  # the last id is the boundary
        grams = np.concatenate([self.trigrams(d) for d in documents])
        grams.sort()
        keys, counts = np.unique(grams, return_counts=True)
        self.unigram_counts = np.bincount(grams % v, minlength=v)
        # lower orders count in how many different contexts a continuation occurs, not how often
        pairs, pair_counts = np.unique(keys % (v * v), return_counts=True)
        singles, single_counts = np.unique(pairs % v, return_counts=True)
        self.levels = [Level(singles, single_counts, v), Level(pairs, pair_counts, v), Level(keys, counts, v)]

    def trigrams(self, document: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The key of the trigram that ends at each token."""
        v = self.vocabulary
        padded = np.concatenate([[v - 1, v - 1], document]).astype(np.int64)
        return (padded[:-2] * v + padded[1:-1]) * v + padded[2:]

    def nats(self, document: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The loss of each token of a document."""
        v, keys = self.vocabulary, self.trigrams(document)
        token = keys % v
        p = np.full(len(keys), 1 / v)
        for order, level in enumerate(self.levels):
            history = (keys // v) % v**order
            p = level.probability(history, token, p)
        return -np.log(p)

    def unigram_nats(self, document: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The loss of each token under add-one unigrams."""
        counts = self.unigram_counts + 1
        return -np.log(counts[document.astype(np.int64)] / counts.sum())
