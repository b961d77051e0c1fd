"""Fraction of variance unexplained: ``Σ‖x − x̂‖² / Σ‖x − x̄‖²`` over held-out tokens, x̄ their mean.

Sums over all coordinates before dividing, so that a coordinate counts by its variance. The mean is that of the same
tokens (and of the same resample), never of a batch: 0 is perfect, 1 is as good as the mean, and worse is possible.
``mse`` is the mean over tokens of ``‖x − x̂‖²``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import ROWS, DocumentSums, Facts

NAMES = ("fvu", "mse")
PART = ROWS


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Each row's squared error."""
    gap = batch.x - batch.x_hat
    return {"error": torch.linalg.vecdot(gap, gap)}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """``Σ‖x − x̄‖²`` is the total squared norm less n times that of the mean."""
    variance = totals["norm"] - np.square(totals["sum"]).sum(-1) / totals["tokens"]
    return {
        "fvu": totals["error"] / np.where(variance > 1e-12 * totals["norm"], variance, np.nan),
        "mse": totals["error"] / totals["tokens"],
    }


class Fvu(DocumentSums):
    """The errors' sums, beside those of the activations themselves."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(terms, values, facts)
        self.activations = facts.activations

    def per_document(self) -> dict[str, np.ndarray]:
        """Errors, squared norms and vector sums of each document."""
        return {**self.activations.present(), **self.sums.present()}


start = Fvu
