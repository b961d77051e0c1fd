"""Measures of agreement, each a function of weights, so that a resample of documents is another row of weights.

Weights, ``(n_samples, n)``, say how often each sample holds each answer; a measure gives ``(n_samples,)``. All
resamples are computed at once: sorting is done once, and ranks follow from sums of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.evaluate.intervals import Estimate, Resamples, Sampled, finite

NUMBER = 400  # resamples
SAME = 1e-9  # a standard deviation below it, of numbers between 0 and 1, is rounding


@dataclass(frozen=True)
class Measure:
    """A measure of ``n`` answers; calling it with weights ``(n_samples, n)`` gives its value on each sample."""

    n: int
    of: Callable[[Float[np.ndarray, "r n"]], Float[np.ndarray, " r"]]

    def __call__(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The value under each row of weights."""
        return self.of(weights)

    def on_all(self) -> float | None:
        """The value on every answer once; None where it is not defined."""
        return finite(float(self.of(np.ones((1, self.n)))[0]))


def estimate(
    measure: Measure, documents: Int[np.ndarray, " n"], seed: int, weights: Float[np.ndarray, " n"] | None = None
) -> Estimate:
    """A measure with its 95 % interval, by resampling documents (all answers of a document together).

    Args:
        measure: what is measured.
        documents: the document of each answer.
        seed: of the resamples.
        weights: of the answers themselves; all alike by default.
    """
    own = np.ones(len(documents)) if weights is None else weights
    names, slots = np.unique(documents, return_inverse=True)
    value = measure(own[None])[0]
    drawn = [measure(chunk[:, slots] * own) for chunk in Resamples(len(names), seed, NUMBER).weights()]
    return Sampled(float(value), np.concatenate(drawn), len(names)).estimate()


def recall(truth: Bool[np.ndarray, " n"], said: Bool[np.ndarray, " n"]) -> Measure:
    """The share of what is true that was said."""
    hits, true = (truth & said).astype(float), truth.astype(float)
    return Measure(len(truth), lambda w: _ratio(w @ hits, w @ true))


def precision(truth: Bool[np.ndarray, " n"], said: Bool[np.ndarray, " n"]) -> Measure:
    """The share of what was said that is true."""
    return recall(said, truth)


def f1(truth: Bool[np.ndarray, " n"], said: Bool[np.ndarray, " n"]) -> Measure:
    """``2 hits / (true + said)``."""
    hits, both = 2.0 * (truth & said), truth.astype(float) + said
    return Measure(len(truth), lambda w: _ratio(w @ hits, w @ both))


def balanced_accuracy(truth: Bool[np.ndarray, " n"], said: Bool[np.ndarray, " n"]) -> Measure:
    """The mean of the shares of true and of false ones that were told right: 0.5 for any constant answer."""
    yes, no = recall(truth, said), recall(~truth, ~said)
    return Measure(len(truth), lambda w: (yes(w) + no(w)) / 2)


def auc(truth: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> Measure:
    """The chance that a true one scores above a false one, ties counting half (Mann and Whitney 1947)."""
    order, starts = _ties(scores)
    true = truth[order].astype(float)

    def measure(weights: np.ndarray) -> np.ndarray:
        w = weights[:, order]
        positive = np.add.reduceat(w * true, starts, axis=1)
        negative = np.add.reduceat(w * (1 - true), starts, axis=1)
        below = np.cumsum(negative, 1) - negative
        return _ratio((positive * (below + negative / 2)).sum(1), positive.sum(1) * negative.sum(1))

    return Measure(len(truth), measure)


def spearman(said: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"]) -> Measure:
    """Pearson's correlation of mean ranks; 0 for a constant prediction, NaN for a constant truth."""
    ranks = _ranks(said), _ranks(truth)
    return Measure(len(said), lambda w: _correlate(ranks[0](w), ranks[1](w), w))


def pearson(said: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"]) -> Measure:
    """Pearson's correlation; 0 for a constant prediction, NaN for a constant truth."""
    said, truth = (_unit(np.asarray(v, dtype=np.float64)) for v in (said, truth))
    return Measure(len(said), lambda w: _correlate(said[None], truth[None], w))


def _unit(values: np.ndarray) -> np.ndarray:
    """Scaled to lie between 0 and 1, so that what counts as rounding does not depend on units."""
    spread = np.ptp(values) if len(values) else 0.0
    return (values - values.min()) / spread if spread > 0 else np.zeros_like(values)


def _ties(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ascending order of values, and where each run of equal ones begins in it."""
    order = np.argsort(values, kind="stable")
    return order, np.flatnonzero(np.concatenate([[True], np.diff(values[order]) != 0]))


def _ranks(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Mean ranks under weights, up to a constant, as shares of the total weight."""
    order, starts = _ties(values)
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))

    def ranks(weights: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(weights[:, order], starts, axis=1)
        middle = np.cumsum(sums, 1) - sums / 2
        return (middle / np.maximum(sums.sum(1, keepdims=True), 1e-300))[:, group]

    return ranks


def _correlate(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    share = weights / weights.sum(1, keepdims=True)
    x = x - (share * x).sum(1, keepdims=True)
    y = y - (share * y).sum(1, keepdims=True)
    spread_x, spread_y = (share * x * x).sum(1), (share * y * y).sum(1)
    constant = spread_x <= SAME**2
    scale = np.sqrt(np.where(constant, 1, spread_x) * spread_y)
    out = _ratio((share * x * y).sum(1), np.where(spread_y <= SAME**2, 0, scale))
    return np.where(constant & ~np.isnan(out), 0.0, out)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
