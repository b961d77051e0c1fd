"""Estimates with intervals that respect documents: tokens of one document are not independent, documents are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

LEVEL = 0.95
RESAMPLES = 1000
CHUNK = 1 << 22  # documents drawn at once: 32 MB of indices
FEW = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706)  # 97.5 % points of Student's t of 1 to 5 degrees of freedom

Totals = Mapping[str, np.ndarray]
Values = Callable[[Totals], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; all three are None where the number does not apply or is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """``{"value", "low", "high"}``."""
        return {"value": self.value, "low": self.low, "high": self.high}


def finite(number: float) -> float | None:
    """The number, or None when it is not finite (a ratio whose denominator is 0)."""
    return float(number) if math.isfinite(number) else None


class Resamples:
    """Samples of ``n_documents`` documents drawn with replacement, the same ones on every call for the same seed."""

    def __init__(self, n_documents: int, seed: int, number: int = RESAMPLES) -> None:
        self.n_documents, self.seed, self.number = n_documents, seed, number

    def weights(self) -> Iterator[Float[np.ndarray, "some n_documents"]]:
        """How often each resample holds each document, some resamples at a time."""
        rng = np.random.default_rng(self.seed)
        size, n = max(1, CHUNK // self.n_documents), self.n_documents
        for first in range(0, self.number, size):
            some = min(size, self.number - first)
            drawn = rng.integers(0, n, (some, n)) + n * np.arange(some)[:, None]
            yield np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n).astype(np.float64)

    def totals(self, per_document: Totals) -> dict[str, np.ndarray]:
        """Each resample's totals of sums that are given per document: ``(n_documents, …)`` to ``(number, …)``."""
        columns = np.concatenate([v.reshape(self.n_documents, -1) for v in per_document.values()], 1)
        summed = np.concatenate([weights @ columns for weights in self.weights()])
        sizes = np.cumsum([math.prod(v.shape[1:]) for v in per_document.values()])[:-1]
        return {
            name: part.reshape(self.number, *v.shape[1:])
            for (name, v), part in zip(per_document.items(), np.split(summed, sizes, axis=1), strict=True)
        }


@dataclass(frozen=True)
class Sampled:
    """A number, and what it is on each resample of ``n_documents`` documents; NaN where it is not defined."""

    value: float
    drawn: Float[np.ndarray, " number"]
    n_documents: int

    def estimate(self) -> Estimate:
        """The number with its expanded percentile interval; resamples on which it is not defined are left out."""
        sample = self.drawn[np.isfinite(self.drawn)]
        if not math.isfinite(self.value) or len(sample) == 0:
            return Estimate()
        low, high = np.quantile(sample, [tail(self.n_documents), 1 - tail(self.n_documents)])
        return Estimate(self.value, float(low), float(high))

    def minus(self, other: Sampled) -> Estimate:
        """The paired difference: both numbers are of the same tokens, and each resample holds the same documents.

        What makes a resample hard is hard for both and cancels, so the interval is as narrow as the data allow.
        """
        return Sampled(self.value - other.value, self.drawn - other.drawn, self.n_documents).estimate()


def sample(per_document: Totals, values: Values, seed: int, number: int = RESAMPLES) -> dict[str, Sampled]:
    """Functions of totals, on all documents and on resamples of them.

    Args:
        per_document: named sums of each document, ``(n_documents, …)``. A ratio is a ratio of totals, so numerator
            and denominator are resampled together.
        values: the named numbers that follow from totals; it works on arrays with a leading axis of samples.
        seed: fixes the resamples: as many documents and the same seed give the same ones.
        number: how many resamples.
    """
    (n_documents,) = {len(v) for v in per_document.values()}
    found = values({name: v.sum(0, keepdims=True) for name, v in per_document.items()})
    drawn = values(Resamples(n_documents, seed, number).totals(per_document))
    return {name: Sampled(float(value[0]), drawn[name], n_documents) for name, value in found.items()}


def bootstrap(per_document: Totals, values: Values, seed: int, number: int = RESAMPLES) -> dict[str, Estimate]:
    """Expanded percentile bootstrap over documents of functions of totals; the arguments are those of ``sample``."""
    return {name: s.estimate() for name, s in sample(per_document, values, seed, number).items()}


def jackknife(value: float, without: Float[np.ndarray, " n_groups"], least: float = 0.0) -> Estimate:
    """The interval of a share of features, from its values with each group of documents left out.

    A count of what was seen, or not seen, in a sample cannot be bootstrapped: a resample lacks a third of the
    documents, so it always finds more dead features, and the interval lies beside the value. The delete-a-group
    jackknife errs on the wide side instead (Efron and Stein 1981). The interval is clipped to [``least``, 1]: 0 for a
    share, -1 for the difference of two.
    """
    n = len(without)
    spread = math.sqrt((n - 1) / n * float(np.square(without - without.mean()).sum()))
    reach = student(n - 1) * spread
    return Estimate(value, max(least, value - reach), min(1.0, value + reach))


@lru_cache
def tail(n: int) -> float:
    """How much of the resamples of ``n`` documents lies beyond each end of an interval: less than 2.5 % of few.

    A resample of few varies too little, by a factor of sqrt((n - 1) / n), and few tell little of how much they vary,
    which is Student's t. The expanded percentile interval (Hesterberg 2015) reaches as much further out among the
    resamples as a normal distribution's would, and stays among values that can be. Of 3 or fewer it reaches the
    extremes, and is still too narrow.
    """
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * student(n - 1)) if n > 1 else 0.0


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t within 0.1 %: from 6 degrees of freedom by the Cornish–Fisher expansion."""
    if freedom <= len(FEW):
        return FEW[freedom - 1]
    z, v = 1.959963984540054, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
