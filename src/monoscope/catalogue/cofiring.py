"""Which features fire together, counted over the whole catalogue and not within batches of features.

For features that fire on ``a`` and ``b`` of ``n`` rows and on ``c`` of them together, the phi coefficient (Pearson's
correlation of the two indicators) is ``(n c − a b) / √(a (n − a) b (n − b))``. Counting visits the codes of all rows
on which a feature fires: ``Σ l0²`` steps in all, with memory for one row of counts per thread. Where that exceeds the
budget, every ``stride``-th row is counted, and a, b, c and n are all taken over those rows.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from jaxtyping import Float, Integer
from numba import njit

from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.spool import Spool

MINIMUM = 5  # rows together below which a coefficient says little
LISTED = 10
BUDGET = 8_000_000_000  # steps: some ten seconds on two cores


class CoFiring:
    """Counts over an index and the spool that it was sorted from; safe to use from several threads."""

    def __init__(self, index: FeatureIndex, spool: Spool, budget: int = BUDGET) -> None:
        lengths = np.diff(spool.ends, prepend=0).astype(np.float64)
        self.stride = max(1, ceil(float((lengths**2).sum()) / budget))
        self.n = ceil(index.n_rows / self.stride)
        self._index, self._spool = index, spool
        if self.stride == 1:
            self.fired = index.counts()
        else:
            self.fired = np.array([self._rows(f).size for f in range(len(index))], np.int64)

    def _rows(self, feature: int) -> Integer[np.ndarray, " n"]:
        rows, _ = self._index.of(feature)
        return rows if self.stride == 1 else rows[rows % self.stride == 0]

    def phi(self, feature: int) -> Float[np.ndarray, " n_features"]:
        """The coefficient with every feature; 0 with itself, and with those met on fewer than 5 rows."""
        together = np.zeros(len(self._index), np.uint32)  # half the size: stays in the fastest cache
        _count(self._rows(feature), self._spool.ends, self._spool.features, together)
        a, b, n = float(self.fired[feature]), self.fired.astype(np.float64), float(self.n)
        scale = np.sqrt(a * (n - a) * b * (n - b))
        counted = (together >= MINIMUM) & (scale > 0)
        counted[feature] = False
        out = np.zeros(len(b))
        out[counted] = (n * together[counted] - a * b[counted]) / scale[counted]
        return out

    def strongest(
        self, feature: int, listed: int = LISTED
    ) -> tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The features that fire with this one the most, and their coefficients (above 0), largest first."""
        phi = self.phi(feature)
        order = np.argsort(-phi, kind="stable")[:listed]
        order = order[phi[order] > 0]
        return order, phi[order]


@njit(cache=True, nogil=True)
def _count(rows, ends, features, together):  # type: ignore[no-untyped-def]
    """For every row, add 1 to each feature that fires on it."""
    for i in range(len(rows)):
        row = rows[i]
        first = ends[row - 1] if row > 0 else 0
        for entry in range(first, ends[row]):
            together[features[entry]] += 1
