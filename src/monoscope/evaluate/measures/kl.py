"""KL: ``Σ p (log p − log q)`` in nats, p the untouched model's next-token distribution, q the spliced model's."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from monoscope.evaluate.batches import Spliced
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import PREDICTIONS, DocumentSums

NAMES = ("kl",)
PART = PREDICTIONS


def terms(batch: Spliced) -> dict[str, Tensor]:
    """The divergence at each counted prediction, over the whole vocabulary."""
    divergence = (batch.original.log_p - batch.log_q).mul_(batch.original.p).sum(-1)
    return {"kl": divergence[batch.original.counted]}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """The mean over predictions."""
    return {"kl": totals["kl"] / totals["tokens"]}


start = partial(DocumentSums, terms, values)
