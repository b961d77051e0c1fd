"""The one-to-one matching of greatest total (Kuhn's Hungarian method, by shortest augmenting paths)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numba import njit


def assign(gain: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The rows and columns of the ``k = min(n, m)`` pairs whose gains add up to the most, by row.

    Exact; at worst ``k² · max(n, m)`` steps.
    """
    gain = np.asarray(gain)
    wide = gain if gain.shape[0] <= gain.shape[1] else gain.T
    columns = _augment(np.ascontiguousarray(wide))
    rows = np.arange(len(columns))
    if wide is gain:
        return rows, columns
    order = np.argsort(columns)
    return columns[order], rows[order]


@njit(cache=True, nogil=True)
def _augment(gain):  # type: ignore[no-untyped-def]
    """The column of each row; there are no fewer columns than rows.

    Rows join one by one. A search from the new row, nearest first by reduced cost, ends at a free column; the prices of
    what it visited change so that all reduced costs stay at or above 0, and the pairs on its path are exchanged.
    """
    n, m = gain.shape
    row_price, column_price = np.zeros(n), np.zeros(m)
    owner = np.full(m, -1)
    for new in range(n):
        distance = np.full(m, np.inf)
        before = np.full(m, -1)  # the column from which each column was reached; -1: from the new row itself
        done = np.zeros(m, np.bool_)
        row, column, reached = new, -1, 0.0
        while row >= 0:
            nearest, least = -1, np.inf
            for j in range(m):
                if not done[j]:
                    through = reached - gain[row, j] - row_price[row] - column_price[j]
                    if through < distance[j]:
                        distance[j] = through
                        before[j] = column
                    if distance[j] < least:
                        nearest, least = j, distance[j]
            column, reached = nearest, least
            done[column] = True
            row = owner[column]
        row_price[new] += reached
        for j in range(m):
            if done[j] and j != column:
                row_price[owner[j]] += reached - distance[j]
                column_price[j] -= reached - distance[j]
        while column >= 0:
            last = before[column]
            owner[column] = new if last < 0 else owner[last]
            column = last
    found = np.empty(n, np.int64)
    for j in range(m):
        if owner[j] >= 0:
            found[owner[j]] = j
    return found
