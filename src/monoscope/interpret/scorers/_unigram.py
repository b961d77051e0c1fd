"""The control that knows nothing but tokens: the set of at most 8 token ids that predicts best where a feature fires.

The set is chosen on the documents of ``fit``, by F1 of "the feature fires on this token", and is exact: for a guess λ
of the best F1 it holds the tokens of largest positive ``2·hits − λ·occurrences``, and its F1 is the next guess
(Dinkelbach 1967).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from monoscope.interpret.judges import Claim
from monoscope.interpret.scorers._bench import FIT, Bench

MOST_TOKENS = 8


class Unigrams:
    """Finds the best sets for the features of one catalogue; occurrences are counted once."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._index, self._tokens = bench, bench.catalogue.index, bench.tokens
        self._fit = bench.catalogue.rows.in_split(FIT)
        self._occurrences = np.bincount(self._tokens[self._fit], minlength=int(self._tokens.max(initial=0)) + 1)

    def claim(self, feature: int, role: str = "fires_on") -> Claim:
        """The best set as a claim."""
        rows, values = self._index.of(feature)
        on = rows[(values > self._bench.least(values)) & self._fit[rows]]
        hits = np.bincount(self._tokens[on], minlength=len(self._occurrences))
        chosen = best_set(hits, self._occurrences)
        return Claim(f"{len(chosen)} tokens", tokens=frozenset(chosen.tolist()), role=role)


def best_set(
    hits: Int[np.ndarray, " vocabulary"], occurrences: Int[np.ndarray, " vocabulary"]
) -> Int[np.ndarray, " n_chosen"]:
    """The tokens of the set with the best F1, given on how many occurrences of each token the feature fires."""
    met = np.flatnonzero(hits)
    h, n, total = hits[met].astype(np.float64), occurrences[met].astype(np.float64), float(hits.sum())
    guess, chosen = 0.0, met[:0]
    while True:
        gain = 2 * h - guess * n
        best = np.argsort(-gain, kind="stable")[:MOST_TOKENS]
        best = best[gain[best] > 0]
        f1 = 2 * h[best].sum() / (n[best].sum() + total) if len(best) else 0.0
        if f1 <= guess:
            return chosen
        guess, chosen = f1, np.sort(met[best])
