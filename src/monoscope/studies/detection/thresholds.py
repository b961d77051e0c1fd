"""Thresholds that keep a false-positive rate, with 95 % confidence.

Among ``n`` negatives, ``k`` of which score above a threshold that was put at the score of the next one, the true rate
above that threshold has Clopper and Pearson's upper bound for ``k`` of ``n`` as its 95 % upper bound whatever the
scores' distribution (a tolerance limit: Wilks 1941). ``k`` follows from ``n`` and the rate alone, so it is the largest
whose bound is at most the rate. With no negative above it the bound is ``1 − 0.05^(1/n)``, the smallest rate that so
many negatives can promise.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from monoscope.errors import MonoscopeError
from monoscope.evaluate import binomial

CONFIDENCE = 0.95
ABOVE = (
    1e-6  # a threshold is raised by this part of itself, so that rounding raises no alarm at the score it was put at
)


@dataclass(frozen=True)
class Promise:
    """What so many negatives can promise.

    Args:
        fpr: the rate that is asked for.
        negatives: how many there are.
        allowed: how many of them may score above a threshold.
        bound: the 95 % upper bound of the rate above it, at most ``fpr``.
    """

    fpr: float
    negatives: int
    allowed: int
    bound: float


def smallest(negatives: int) -> float:
    """The smallest rate that can be promised."""
    return 1.0 - (1 - CONFIDENCE) ** (1 / negatives)


def needed(fpr: float) -> int:
    """The least number of negatives that can promise a rate."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-fpr) - 1e-9)


def promise(fpr: float, negatives: int) -> Promise:
    """How many false alarms a threshold may give.

    Raises:
        MonoscopeError: the rate is none, or there are too few negatives for it.
    """
    if not 0 < fpr < 1:
        raise MonoscopeError(f"a false-positive rate of {fpr}", fix="give a number between 0 and 1, such as 0.01")
    if negatives < needed(fpr):
        raise MonoscopeError(
            f"{negatives} negatives set the threshold; they cannot promise a false-positive rate of {fpr:g}: the "
            f"smallest that they can is {math.ceil(smallest(negatives) * 1e4) / 1e4:g}",
            fix=f"give at least {needed(fpr)} negatives to that part, or a higher rate",
        )
    most = range(negatives)  # the bound for k is at most fpr where k or fewer are that unlikely at fpr
    k = bisect_right(most, 1 - CONFIDENCE, key=lambda k: binomial.at_most(k, negatives, fpr)) - 1
    return Promise(fpr, negatives, k, binomial.upper(k, negatives, CONFIDENCE))


def threshold(scores: Float[np.ndarray, " n"], promised: Promise) -> float:
    """The lowest threshold with at most so many negatives above it, of their scores."""
    last = float(np.sort(scores)[len(scores) - 1 - promised.allowed])
    return last + ABOVE * abs(last)
