"""One feature's values summed up exactly: maximum, mean, histogram, and groups between its own percentiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from monoscope.catalogue.records import Histogram

BINS = 50
PERCENTILES = {
    "99-100": (99, 100),
    "95-99": (95, 99),
    "90-95": (90, 95),
    "75-90": (75, 90),
    "50-75": (50, 75),
    "25-50": (25, 50),
    "0-25": (0, 25),
}
TOP = "top"


class Summary(NamedTuple):
    """Maximum and mean of the values where the feature fires (0 when it never does), and their histogram."""

    max: float
    mean: float
    histogram: Histogram


def summarise(values: Float[np.ndarray, " n_active"], bins: int = BINS) -> Summary:
    """Sum up all of a feature's values; bins of equal width from 0 (or the least value, if negative) to the maximum."""
    if len(values) == 0:
        return Summary(0.0, 0.0, Histogram([], []))
    high, low = float(values.max()), min(0.0, float(values.min()))
    edges = np.linspace(low, max(high, 0.0), bins + 1)
    counts, _ = np.histogram(values, bins, (low, max(high, 0.0)))
    return Summary(high, float(values.mean(dtype=np.float64)), Histogram(edges.tolist(), counts.tolist()))


def ascending(values: Float[np.ndarray, " n_active"]) -> Integer[np.ndarray, " n_active"]:
    """Which entry is the least, the second least, …; equal values stay in the order of their rows.

    Positive half floats order as their bits do, and NumPy sorts 16-bit integers by radix, in linear time.
    """
    if values.dtype == np.float16 and not np.signbit(values).any():
        return np.argsort(values.view(np.uint16), kind="stable")
    return np.argsort(values, kind="stable")


def groups(n_active: int) -> dict[str, tuple[int, int]]:
    """For each percentile group, the ranks (first, last exclusive) in ascending order that belong to it.

    Groups hold shares of the feature's *entries*, not equal slices of its range, so that a rare strong tail is as
    visible as its weak bulk. They are disjoint and cover every entry; a small feature leaves some empty.
    """
    return {name: (n_active * low // 100, n_active * high // 100) for name, (low, high) in PERCENTILES.items()}
