"""The one-to-one assignment of greatest total score (Jonker and Volgenant 1987), exactly.

Reference: ``best_of_all`` tries every permutation. The CPU kernel grows shortest augmenting paths, row by row, with
dual prices; its time is at worst cubic, and on scores where good partners stand out far less.
"""

from __future__ import annotations

from itertools import permutations

import numba
import numpy as np
from jaxtyping import Float, Int

from monoscope.errors import MonoscopeError


def assign(scores: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The rows and columns of the ``k = min(n, m)`` pairs whose scores add up to the most, by ascending row.

    Raises:
        MonoscopeError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise MonoscopeError("a score is not finite", fix="look for directions of length 0")
    n, m = scores.shape
    partners = _augment(-np.ascontiguousarray(scores if n <= m else scores.T, dtype=np.float64))
    if n <= m:
        return np.arange(n), partners
    order = np.argsort(partners)
    return partners[order], order


def best_of_all(scores: Float[np.ndarray, "n m"]) -> float:
    """The greatest total by trying every assignment: for a handful of rows."""
    n, m = scores.shape
    rows = np.arange(n)
    return max(float(scores[rows, list(columns)].sum()) for columns in permutations(range(m), n))


@numba.njit(cache=True, nogil=True)
def _augment(costs: np.ndarray) -> np.ndarray:
    """Shortest augmenting paths over reduced costs; prices stay feasible, so every step is optimal for its rows."""
    n, m = costs.shape
    row_price, column_price = np.zeros(n), np.zeros(m)
    row_of, column_of = np.full(m, -1, np.int64), np.full(n, -1, np.int64)
    came_from, distance, done = np.empty(m, np.int64), np.empty(m), np.empty(m, np.bool_)
    for row in range(n):
        j = _path(costs, row, row_price, column_price, row_of, came_from, distance, done)
        length = distance[j]
        row_price[row] += length
        for c in range(m):
            if done[c] and c != j:
                row_price[row_of[c]] += length - distance[c]
                column_price[c] -= length - distance[c]
        i = -1
        while i != row:  # turn the path around
            i = came_from[j]
            row_of[j] = i
            j, column_of[i] = column_of[i], j
    return column_of


@numba.njit(cache=True, nogil=True)
def _path(
    costs: np.ndarray,
    row: int,
    row_price: np.ndarray,
    column_price: np.ndarray,
    row_of: np.ndarray,
    came_from: np.ndarray,
    distance: np.ndarray,
    done: np.ndarray,
) -> int:
    """Dijkstra from ``row`` to the nearest free column, which is returned; fills the last three arrays."""
    m = len(distance)
    distance[:] = np.inf
    done[:] = False
    waiting = np.arange(m)
    n_waiting, at, reached = m, row, 0.0
    while True:
        nearest, place = np.inf, -1
        for w in range(n_waiting):
            j = waiting[w]
            d = reached + costs[at, j] - row_price[at] - column_price[j]
            if d < distance[j]:
                distance[j] = d
                came_from[j] = at
            if distance[j] < nearest or (distance[j] == nearest and row_of[j] < 0):
                nearest, place = distance[j], w
        reached, j = nearest, waiting[place]
        done[j] = True
        if row_of[j] < 0:
            return j
        n_waiting -= 1
        waiting[place] = waiting[n_waiting]
        at = row_of[j]
