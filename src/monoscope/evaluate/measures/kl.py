"""KL: ``Σ p (log p − log q)`` in nats, p the untouched model's next-token distribution, q the spliced model's.

``kl_mean`` and ``kl_zero`` are those of the ablations: what a reconstruction has to stay below.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from torch import Tensor

from monoscope.evaluate.batches import Spliced
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import PREDICTIONS, DocumentSums

NAMES = ("kl", "kl_mean", "kl_zero")
PART = PREDICTIONS


def terms(batch: Spliced) -> dict[str, Tensor]:
    """The divergence at each counted prediction, over the whole vocabulary."""
    return {"kl": batch.kl, **batch.original.divergences}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """The mean over predictions."""
    return {name: totals[name] / totals["tokens"] for name in NAMES}


start = partial(DocumentSums, terms, values)
