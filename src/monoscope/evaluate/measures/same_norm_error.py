"""The damage of the error beside that of a random error: ``x`` plus a random direction as long as ``x − x̂``.

Gurnee (2024) found that the error of a dictionary raises the KL more than a random error of the same length: it is not
noise, but holds what the model goes on to use. ``kl_over_same_norm`` says how many times more, ``loss_over_same_norm``
the same of the rise in cross-entropy; 1 is an error that harms as noise would. A token's random direction is the same
for every dictionary.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from monoscope.evaluate.batches import Spliced
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import PREDICTIONS, DocumentSums

NAMES = ("ce_same_norm", "kl_same_norm", "loss_over_same_norm", "kl_over_same_norm")
PART = PREDICTIONS
LEAST = 1e-9  # nats: random errors that harm less than this say nothing


def terms(batch: Spliced) -> dict[str, Tensor]:
    """The loss and KL of each counted prediction, with the error and with a random one."""
    original = batch.original
    length = torch.linalg.vector_norm(batch.x - batch.x_hat, dim=1, keepdim=True)
    log_r = batch.again(batch.x + length * original.directions.to(batch.x))
    return {
        "ce": original.losses["ce"],
        "ce_spliced": original.cross_entropy(batch.log_q),
        "ce_random": original.cross_entropy(log_r),
        "kl": batch.kl,
        "kl_random": original.divergence(log_r),
    }


def values(totals: Totals) -> dict[str, np.ndarray]:
    """The mean loss and KL with random errors, and how much more the real errors harm."""
    n = totals["tokens"]
    harm, random_harm = totals["ce_spliced"] - totals["ce"], totals["ce_random"] - totals["ce"]

    def over(value: np.ndarray, other: np.ndarray) -> np.ndarray:
        return value / np.where(other > LEAST * n, other, np.nan)

    return {
        "ce_same_norm": totals["ce_random"] / n,
        "kl_same_norm": totals["kl_random"] / n,
        "loss_over_same_norm": over(harm, random_harm),
        "kl_over_same_norm": over(totals["kl"], totals["kl_random"]),
    }


start = partial(DocumentSums, terms, values)
