"""Cosine between an activation and its reconstruction, averaged over tokens."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import ROWS, DocumentSums

NAMES = ("cosine",)
PART = ROWS


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Each row's cosine: 1 where both vectors are zero, 0 where only one is."""
    norm, norm_hat = torch.linalg.vector_norm(batch.x, dim=1), torch.linalg.vector_norm(batch.x_hat, dim=1)
    defined = (norm > 0) & (norm_hat > 0)
    both_zero = (norm == 0) & (norm_hat == 0)
    safe = torch.where(defined, norm, 1).double() * torch.where(defined, norm_hat, 1).double()
    cosine = torch.linalg.vecdot(batch.x, batch.x_hat) / safe
    return {"cosine": torch.where(defined, cosine, both_zero.double())}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """The mean over tokens."""
    return {"cosine": totals["cosine"] / totals["tokens"]}


start = partial(DocumentSums, terms, values)
