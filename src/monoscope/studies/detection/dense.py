"""Dense probes on raw activations: logistic regressions, and the difference of means.

A regression is fitted on the mean activation of each text, or on tokens, which have the label of their text or, where
spans are known, their own. Which of the two, how strongly weights are held back, and by what number of a text it counts
is chosen by cross-validation on the fit texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.interpret import logistic
from monoscope.studies.detection.choosing import FOLDS, merit
from monoscope.studies.detection.detector import Aggregated, Detector, Part
from monoscope.studies.detection.seeing import Seen

DENSE, DIFFERENCE = "dense probe", "mean difference"
COUNTED = (
    Aggregated("token"),
    Aggregated("ema", {"half_life": 4.0}),
    Aggregated("ema", {"half_life": 16.0}),
    Aggregated("mean"),
)
PENALTIES = (1e-3, 1e-2, 1e-1)
ROWS = 20_000  # tokens that a regression is fitted on

Direction = tuple[Float[Tensor, " d"], float]  # a weight and a bias
Fit = Callable[[Bool[np.ndarray, " n"]], Direction]  # on these of the texts


@dataclass(frozen=True)
class Way:
    """A way of fitting a direction, in words, and the function."""

    words: str
    fit: Fit


@dataclass(frozen=True)
class Probe:
    """A detector, and how it was chosen: the way, and the merit in cross-validation."""

    detector: Detector
    way: str
    merit: float


def choose(
    seen: Seen, labels: Bool[np.ndarray, " n"], folds: Int[np.ndarray, " n"], fpr: float, *, site: str, seed: int
) -> list[Probe]:
    """The dense probe and the difference of means, each at its best way."""
    slots = np.repeat(np.arange(len(labels)), np.diff(seen.tokens.offsets))
    means = torch.zeros(len(labels), seen.x.shape[1]).index_add_(0, torch.from_numpy(slots), seen.x)
    means /= torch.from_numpy(np.diff(seen.tokens.offsets)).clamp(min=1)[:, None]
    inside = np.concatenate(seen.tokens.inside)
    ways = {
        DENSE: [*_on_means(means, labels), *_on_tokens(seen.x, inside, slots, seed)],
        DIFFERENCE: [Way("means of texts", lambda some: difference(means, labels, some))],
    }
    return [_best(name, tried, seen, labels, folds, fpr, site) for name, tried in ways.items()]


def difference(means: Float[Tensor, "n d"], labels: Bool[np.ndarray, " n"], some: Bool[np.ndarray, " n"]) -> Direction:
    """The mean of the positives less that of the negatives; 0 lies half-way between them."""
    positive, negative = (means[torch.from_numpy(some & (labels == label))].mean(0) for label in (True, False))
    weight = positive - negative
    return weight, -float(weight @ (positive + negative)) / 2


def _on_means(means: Float[Tensor, "n d"], labels: Bool[np.ndarray, " n"]) -> Iterator[Way]:
    for penalty in PENALTIES:

        def fit(some: Bool[np.ndarray, " n"], penalty: float = penalty) -> Direction:
            return _regression(means[torch.from_numpy(some)], labels[some], penalty)

        yield Way(f"means of texts, penalty {penalty:g}", fit)


def _on_tokens(
    x: Float[Tensor, "n_tokens d"],
    inside: Bool[np.ndarray, " n_tokens"],
    slots: Int[np.ndarray, " n_tokens"],
    seed: int,
) -> Iterator[Way]:
    order = np.random.default_rng(seed).permutation(len(slots))
    for penalty in PENALTIES:

        def fit(some: Bool[np.ndarray, " n"], penalty: float = penalty) -> Direction:
            rows = np.sort(order[some[slots[order]]][:ROWS])
            return _regression(x[torch.from_numpy(rows)], inside[rows], penalty)

        yield Way(f"tokens, penalty {penalty:g}", fit)


def _regression(x: Float[Tensor, "n d"], holds: Bool[np.ndarray, " n"], penalty: float) -> Direction:
    found = logistic.fit(x, torch.from_numpy(holds)[:, None], penalty=penalty)
    return found.weights[:, 0], float(found.bias[0])


def _best(
    name: str,
    ways: list[Way],
    seen: Seen,
    labels: Bool[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
    fpr: float,
    site: str,
) -> Probe:
    """The way and the number of a text that are best on texts that did not fit the direction."""
    tried = []
    for way in ways:
        scores = np.zeros((len(labels), len(COUNTED)))
        for fold in range(FOLDS):
            weight, bias = way.fit(folds != fold)
            for i in np.flatnonzero(folds == fold):
                first, last = seen.tokens.offsets[i : i + 2].tolist()
                values = (seen.x[first:last] @ weight + bias).numpy()
                scores[i] = [counted.largest(values) for counted in COUNTED]
        merits = merit(scores, labels, fpr)
        tried.append((float(merits.max()), way, COUNTED[int(np.argmax(merits))]))
    found, way, counted = max(tried, key=lambda each: each[0])
    weight, bias = way.fit(np.ones(len(labels), bool))
    part = Part(name, counted, site, vector=weight.numpy().astype(np.float32), bias=bias)
    return Probe(Detector(name, (part,)), f"{way.words}; {counted}", found)
