"""Loss recovered: ``1 − (CE_spliced − CE) / (CE_ablated − CE)``, against mean- and against zero-ablation.

CE is the mean next-token cross-entropy over counted tokens, in nats. Zero-ablation harms more than the mean does, so
its figure flatters; both are given, with the cross-entropies that they come from. Where an ablation does no harm, as in
many a random model, there is nothing to recover and no figure.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from monoscope.evaluate.batches import Spliced
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import PREDICTIONS, DocumentSums

LOSSES = ("ce", "ce_spliced", "ce_mean", "ce_zero")
NAMES = ("loss_recovered_mean", "loss_recovered_zero", *LOSSES)
PART = PREDICTIONS
LEAST = 1e-9  # nats: an ablation that harms less than this says nothing


def terms(batch: Spliced) -> dict[str, Tensor]:
    """The cross-entropy of each counted prediction: untouched, spliced, ablated."""
    return {**batch.original.losses, "ce_spliced": batch.original.cross_entropy(batch.log_q)}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """Both ratios, and the mean losses."""
    loss = {name: totals[name] / totals["tokens"] for name in LOSSES}

    def recovered(ablated: np.ndarray) -> np.ndarray:
        harm = ablated - loss["ce"]
        return 1 - (loss["ce_spliced"] - loss["ce"]) / np.where(harm > LEAST, harm, np.nan)

    return {
        "loss_recovered_mean": recovered(loss["ce_mean"]),
        "loss_recovered_zero": recovered(loss["ce_zero"]),
        **loss,
    }


start = partial(DocumentSums, terms, values)
