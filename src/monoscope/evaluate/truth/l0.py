"""Whether as many features are active as fire in truth."""

from __future__ import annotations

import numpy as np

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share

MATCHED = False


def measure(case: Case) -> dict[str, Estimate]:
    """``l0``: active features a row; ``true_l0``: true features that fire; ``l0_mismatch``: ``l0 / true_l0 − 1``.

    arXiv 2508.16560 shows what a wrong L0 costs. Intervals over rows, in groups of 256.
    """
    counts, true = grouped(case.code.counts().numpy()), grouped(case.truth.counts().numpy())
    rows = grouped(np.ones(len(case.truth)))
    return {
        "l0": share(counts, rows),
        "true_l0": share(true, rows),
        "l0_mismatch": share(counts - true, true),
    }


def grouped(terms: np.ndarray) -> np.ndarray:
    """Sums of each 256 rows' terms, ``(n,)``."""
    return np.add.reduceat(np.asarray(terms, float), np.arange(0, len(terms), 256))
