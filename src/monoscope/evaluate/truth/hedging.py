"""Hedging: a feature's direction takes in some of what usually comes along with it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, mixture, share
from monoscope.ops.transpose import transpose
from monoscope.types import Code

MATCHED = True


def measure(case: Case) -> dict[str, Estimate]:
    """``hedging``: how much of its companion's direction a feature's decoder holds, relative to its own; 0 is none.

    After arXiv 2505.11756. A true feature's *companion* is the one whose firing correlates most with its own, in
    absolute value, over the rows; ancestors are left out, because their part in a child's direction is absorption. The
    matched feature's direction is decomposed, by least squares, into those of the true feature and of its companion:
    hedging is the companion's coefficient over the feature's own, with the sign of the correlation. Mean over true
    features whose match has an absolute cosine of at least 0.5; the interval is over them.
    """
    companions, signs = companion(case.truth, case.world.ancestors())
    features = case.matching.found[companions[case.matching.found] >= 0]
    own, other = mixture(case, features, companions[features])
    return {"hedging": share(signs[features] * other / own)}


def companion(
    truth: Code, ancestors: list[list[int]]
) -> tuple[Int[np.ndarray, " n_true"], Float[np.ndarray, " n_true"]]:
    """Each feature's companion and the sign of their correlation; -1 and 0 where a feature never fires."""
    by = transpose(truth)
    starts = np.cumsum([0, *(len(chain) for chain in ancestors)])
    chained = np.array([a for chain in ancestors for a in chain], np.int64)
    return _companions(
        by.offsets.numpy(), by.rows.numpy(), truth.offsets.numpy(), truth.indices.numpy(), starts, chained
    )


@njit(cache=True, nogil=True)
def _companions(starts, rows, offsets, indices, chain_starts, chained):  # type: ignore[no-untyped-def]
    n_true, n = len(starts) - 1, len(offsets) - 1
    best, sign = np.full(n_true, -1), np.zeros(n_true)
    together = np.zeros(n_true)
    for i in range(n_true):
        ni = starts[i + 1] - starts[i]
        if ni == 0 or ni == n:
            continue
        for r in rows[starts[i] : starts[i + 1]]:
            for e in range(offsets[r], offsets[r + 1]):
                together[indices[e]] += 1
        together[i] = -1
        for a in range(chain_starts[i], chain_starts[i + 1]):
            together[chained[a]] = -1
        strongest = 0.0
        for j in range(n_true):
            nj = starts[j + 1] - starts[j]
            if together[j] >= 0 and 0 < nj < n:
                phi = (together[j] / n - ni / n * (nj / n)) / np.sqrt(nj / n * (1 - nj / n))
                if abs(phi) > strongest:
                    strongest = abs(phi)
                    best[i], sign[i] = j, np.sign(phi)
        together[:] = 0
    return best, sign
