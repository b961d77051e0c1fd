"""On which tokens a feature fires: by mean value and by share of its total."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from numba import njit

MINIMUM = 3  # firings below which a token's mean says little
LISTED = 10


class Weighted(NamedTuple):
    """Token ids with their weights and numbers of firings, heaviest first."""

    tokens: Integer[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    counts: Integer[np.ndarray, " n"]


class TokenCounter:
    """Counts a feature's firings by token; reuses its scratch memory, so use one per thread.

    ``tokens`` holds every row's token id, ``occurrences`` how often each id occurs among them.
    """

    def __init__(self, tokens: Integer[np.ndarray, " n_rows"], occurrences: Integer[np.ndarray, " vocabulary"]) -> None:
        self._tokens, self._occurrences = tokens, occurrences
        self._sums = np.zeros(len(occurrences), np.float64)
        self._counts = np.zeros(len(occurrences), np.int64)

    def top(
        self, rows: Integer[np.ndarray, " n_active"], values: Float[np.ndarray, " n_active"], listed: int = LISTED
    ) -> tuple[Weighted, Weighted]:
        """The feature's top tokens by mean and by mass.

        The mean is over all occurrences of the token, so that a token on which the feature is always on comes before
        one on which it once was; tokens with fewer than 3 firings are left out unless there are no others. The mass
        is the token's share of the sum of all values. Ties go to the lower id.
        """
        ids = _count(rows, values, self._tokens, self._sums, self._counts)
        ids.sort()
        sums, counts = self._sums[ids], self._counts[ids]
        self._sums[ids], self._counts[ids] = 0, 0
        often = counts >= MINIMUM
        kept = often if often.any() else np.ones(len(ids), bool)
        total = sums.sum() or 1.0
        return (
            _heaviest(ids[kept], (sums / self._occurrences[ids])[kept], counts[kept], listed),
            _heaviest(ids, sums / total, counts, listed),
        )


def _heaviest(ids: np.ndarray, weights: np.ndarray, counts: np.ndarray, listed: int) -> Weighted:
    order = np.argsort(-weights, kind="stable")[:listed]
    return Weighted(ids[order], weights[order], counts[order])


@njit(cache=True, nogil=True)
def _count(rows, values, tokens, sums, counts):  # type: ignore[no-untyped-def]
    """Add values and firings up by token; returns the tokens met, in the order of meeting."""
    met = np.empty(min(len(rows), len(sums)), np.int64)
    n = 0
    for i in range(len(rows)):
        token = tokens[rows[i]]
        if counts[token] == 0:
            met[n] = token
            n += 1
        counts[token] += 1
        sums[token] += values[i]
    return met[:n]
