"""How detectors do on texts that neither chose nor calibrated them. Intervals resample texts, or are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from monoscope.evaluate import binomial
from monoscope.evaluate.intervals import Estimate, Resamples, Sampled
from monoscope.interpret.probing import auroc

POINTS = 1000  # of a curve that is written down, at most


@dataclass(frozen=True)
class Judged:
    """A detector on some texts.

    Args:
        auc: the area under the ROC curve.
        caught: the share of positives above the threshold, resampled with ``auc`` so that detectors can be compared.
        recall: the same with its exact interval.
        fpr: the share of negatives above the threshold, with its exact interval.
        curve: (false-positive rate, recall) at the corners of the ROC curve, from none to all.
    """

    auc: Sampled
    caught: Sampled
    recall: Estimate
    fpr: Estimate
    curve: Float[np.ndarray, "points 2"]

    def to_json(self) -> dict[str, Any]:
        """Estimates, and the curve thinned."""
        kept = np.unique(np.linspace(0, len(self.curve) - 1, POINTS).round().astype(int))
        return {
            "auc": self.auc.estimate().to_json(),
            "recall": self.recall.to_json(),
            "fpr": self.fpr.to_json(),
            "roc": np.round(self.curve[kept], 5).tolist(),
        }


def judge(scores: Float[np.ndarray, " n"], labels: Bool[np.ndarray, " n"], threshold: float, seed: int) -> Judged:
    """Measure a detector; the same seed and number of texts give the same resamples."""
    n = len(labels)
    weights = np.concatenate([np.ones((1, n)), *Resamples(n, seed).weights()])
    area = auroc(scores, labels, weights, np.arange(n))
    above = scores > threshold
    with np.errstate(invalid="ignore", divide="ignore"):
        caught = (weights @ (above & labels)) / (weights @ labels.astype(np.float64))
    return Judged(
        Sampled(float(area[0]), area[1:], n),
        Sampled(float(caught[0]), caught[1:], n),
        binomial.rate(int((above & labels).sum()), int(labels.sum())),
        binomial.rate(int((above & ~labels).sum()), int((~labels).sum())),
        curve(scores, labels),
    )


def curve(scores: Float[np.ndarray, " n"], labels: Bool[np.ndarray, " n"]) -> Float[np.ndarray, "points 2"]:
    """The corners of the ROC curve, where it changes its direction."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(scores[order][1:] != scores[order][:-1], True)
    hits, alarms = (np.cumsum(held[order])[ends] for held in (labels, ~labels))
    counts = np.concatenate([np.zeros((1, 2), np.int64), np.stack([alarms, hits], 1)])
    steps = np.diff(counts, axis=0)
    turns = steps[:-1, 0] * steps[1:, 1] != steps[1:, 0] * steps[:-1, 1]
    return counts[np.concatenate([[True], turns, [True]])] / np.maximum(1, [(~labels).sum(), labels.sum()])


def differences(judged: Mapping[str, Judged], of: str, others: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """How much better one detector is than others on the same texts, paired: ``auc`` and ``recall``."""
    one = judged[of]
    return {
        other: {"auc": one.auc.minus(judged[other].auc), "recall": one.caught.minus(judged[other].caught)}
        for other in others
    }
