"""L0: how many features are active on a token, on average."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import ROWS, DocumentSums

NAMES = ("l0",)
PART = ROWS


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Each row's number of active features."""
    return {"active": batch.code.counts()}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """Active features per token."""
    return {"l0": totals["active"] / totals["tokens"]}


start = partial(DocumentSums, terms, values)
