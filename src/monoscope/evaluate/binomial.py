"""Exact intervals of a rate that was counted: Clopper and Pearson (1934), from sums of binomial probabilities."""

from __future__ import annotations

import math

import numpy as np

from monoscope.evaluate.intervals import LEVEL, Estimate

HALVINGS = 60


def at_most(k: int, n: int, p: float) -> float:
    """The probability of ``k`` or fewer successes in ``n`` independent trials of probability ``p``."""
    if k >= n or p <= 0:
        return 1.0
    if k < 0 or p >= 1:
        return 0.0
    i = np.arange(k + 1)
    # log C(n, i), built up from log C(n, i) − log C(n, i − 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(n - i[:-1]) - np.log(i[1:]))])
    return float(min(1.0, np.exp(logs + i * math.log(p) + (n - i) * math.log1p(-p)).sum()))


def upper(k: int, n: int, confidence: float) -> float:
    """The largest rate under which ``k`` or fewer of ``n`` are not less likely than ``1 − confidence``."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_most(k, n, middle) > 1 - confidence else (low, middle)
    return high


def lower(k: int, n: int, confidence: float) -> float:
    """The smallest rate under which ``k`` or more of ``n`` are not less likely than ``1 − confidence``."""
    return 1.0 - upper(n - k, n, confidence)


def rate(k: int, n: int) -> Estimate:
    """``k`` of ``n`` with its two-sided 95 % interval; undefined where there is nothing to count."""
    if n == 0:
        return Estimate()
    side = (1 + LEVEL) / 2
    return Estimate(k / n, lower(k, n, side), upper(k, n, side))
