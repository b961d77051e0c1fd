"""L0: how many features are active on a token, on average; L1: how strongly, in sum."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import ROWS, DocumentSums

NAMES = ("l0", "l1")
PART = ROWS


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Each row's number of active features, and the sum of their magnitudes."""
    strength = batch.x.new_zeros(len(batch.x), dtype=torch.float64)
    return {
        "active": batch.code.counts(),
        "strength": strength.index_add_(0, batch.code.rows(), batch.code.values.abs().double()),
    }


def values(totals: Totals) -> dict[str, np.ndarray]:
    """Active features per token, and the sum of their magnitudes per token."""
    return {"l0": totals["active"] / totals["tokens"], "l1": totals["strength"] / totals["tokens"]}


start = partial(DocumentSums, terms, values)
