"""A rule over few features, chosen one after the other.

A feature counts by its largest value in a text, or by the largest value of its moving average. It is measured in units
of what it reaches on the negatives, at the rate of false alarms that is wanted. One feature after the other joins, as
one more of which any may hold, or as one more of which all must, as long as the choice gains by it on the fit texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.studies.detection.choosing import merit
from monoscope.studies.detection.detector import Aggregated, Detector, Part
from monoscope.studies.detection.seeing import Seen
from monoscope.types import Code

NAME = "features"
LARGEST, HALF_LIFE = 4, 8.0
CANDIDATES = 8192  # features that are tried, where there are more
GAIN = 0.01  # of the merit, for which a feature may join
LEAST = 0.25  # of a feature's median on positives: no unit is smaller, or a feature that is never on has none
WAYS = (Aggregated("token"), Aggregated("ema", {"half_life": HALF_LIFE}))
SO_FAR = Aggregated("max")  # what parts look at that must all hold: it never falls again

Join = Literal["any", "all"]


@dataclass(frozen=True)
class Pooled:
    """What features reach in each text.

    Args:
        features: their numbers.
        reached: by ``WAYS``.
        scale: their units.
    """

    features: Int[np.ndarray, " m"]
    reached: Float[np.ndarray, "ways n m"]
    scale: Float[np.ndarray, "ways m"]


def choose(
    seen: Seen,
    labels: Bool[np.ndarray, " n"],
    fpr: float,
    *,
    site: str,
    dictionary: str,
    label: Callable[[int], str | None],
    among: Sequence[int] | None = None,
) -> Detector | None:
    """The rule; None where no feature is on in any positive text.

    Args:
        seen: the fit texts.
        labels: theirs.
        fpr: the rate of false alarms that is wanted.
        site: where the dictionary reads.
        dictionary: its folder.
        label: what a feature means.
        among: the features that may be chosen; all by default.
    """
    pooled = pool(seen.code, seen.tokens.offsets, labels, fpr, among)
    if not len(pooled.features):
        return None
    grown = [_grow(pooled, labels, fpr, join) for join in ("any", "all")]
    chosen, join, _ = max(grown, key=lambda each: each[2])
    made = []
    for way, place in chosen:
        feature = int(pooled.features[place])
        said = label(feature)
        name = f"feature {feature}" + (f": {said}" if said else "")
        counted = WAYS[way] if join == "any" else SO_FAR
        made.append(Part(name, counted, site, float(pooled.scale[way, place]), dictionary, feature, label=said))
    return Detector(NAME, tuple(made), join)


def _grow(
    pooled: Pooled, labels: Bool[np.ndarray, " n"], fpr: float, join: Join
) -> tuple[list[tuple[int, int]], Join, float]:
    """(way, place) of the features chosen, and the merit on the fit texts."""
    ways = range(len(WAYS)) if join == "any" else range(1)
    joined = np.maximum if join == "any" else np.minimum
    scores = [pooled.reached[way] / pooled.scale[way] for way in ways]
    chosen: list[tuple[int, int]] = []
    so_far, best = None, 0.0
    while len(chosen) < LARGEST:
        tried = [s if so_far is None else joined(so_far[:, None], s) for s in scores]
        merits = [merit(t, labels, fpr) for t in tried]
        way = max(ways, key=lambda w: float(merits[w].max()))
        place = int(np.argmax(merits[way]))
        if float(merits[way][place]) < best + GAIN:
            break
        best, so_far = float(merits[way][place]), tried[way][:, place]
        chosen.append((way, place))
    return chosen, join, best


def pool(
    code: Code,
    offsets: Int[np.ndarray, " n_plus_1"],
    labels: Bool[np.ndarray, " n"],
    fpr: float,
    among: Sequence[int] | None = None,
) -> Pooled:
    """What the features that are on in positive texts reach in each text, those first that tell most in how many."""
    index, rows = code.indices.numpy().astype(np.int64), code.offsets.numpy().astype(np.int64)
    counts: np.ndarray = _texts(index, rows, offsets, labels, code.n_features)
    able = counts[1] > 0
    if among is not None:
        able &= np.isin(np.arange(code.n_features), list(among))
    difference = np.abs(counts[1] / labels.sum() - counts[0] / (~labels).sum())
    features = np.flatnonzero(able)
    features = np.sort(features[np.argsort(-difference[features], kind="stable")[:CANDIDATES]])
    column = np.full(code.n_features, -1, np.int64)
    column[features] = np.arange(len(features))
    reached = _pool(index, code.values.numpy(), rows, offsets, column, len(features), 0.5 ** (1 / HALF_LIFE))
    return Pooled(features, reached, _scale(reached, labels, fpr))


def _scale(
    reached: Float[np.ndarray, "ways n m"], labels: Bool[np.ndarray, " n"], fpr: float
) -> Float[np.ndarray, "ways m"]:
    on_negatives = np.quantile(reached[:, ~labels], 1 - fpr, axis=1)
    positives = np.where(reached[:, labels] > 0, reached[:, labels], np.nan)
    return np.maximum(on_negatives, LEAST * np.nanmedian(positives, axis=1)) if reached.shape[2] else on_negatives


@numba.njit(cache=True, nogil=True)
def _texts(index: np.ndarray, rows: np.ndarray, offsets: np.ndarray, labels: np.ndarray, n_features: int) -> np.ndarray:
    """In how many texts of each label each feature is on."""
    counts = np.zeros((2, n_features), np.int64)
    last = np.full(n_features, -1, np.int64)
    for text in range(len(offsets) - 1):
        for i in range(rows[offsets[text]], rows[offsets[text + 1]]):
            if last[index[i]] != text:
                last[index[i]] = text
                counts[int(labels[text]), index[i]] += 1
    return counts


@numba.njit(cache=True, nogil=True)
def _pool(
    index: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    column: np.ndarray,
    n: int,
    kept: float,
) -> np.ndarray:
    """The largest value, and the largest moving average, which is reached on a token where the feature is on."""
    found = np.zeros((2, len(offsets) - 1, n), np.float32)
    average, place = np.zeros(n), np.zeros(n, np.int64)
    for text in range(len(offsets) - 1):
        average[:] = 0.0
        place[:] = offsets[text]
        for token in range(offsets[text], offsets[text + 1]):
            for i in range(rows[token], rows[token + 1]):
                c = column[index[i]]
                if c < 0:
                    continue
                average[c] = average[c] * kept ** (token - place[c] + 1) + (1 - kept) * values[i]
                place[c] = token + 1
                found[0, text, c] = max(found[0, text, c], values[i])
                found[1, text, c] = max(found[1, text, c], average[c])
    return found
