"""Whether reconstructions are too short: lengths in and out, and the factor that would mend them.

``norm_ratio`` is the mean over tokens of ``‖x̂‖ / ‖x‖``. ``reconstruction_bias`` is ``Σ‖x̂‖² / Σ x·x̂``, below 1 where
reconstructions shrink: dividing them by it is the rescaling of least error (Rajamanoharan et al. 2024, arXiv
2404.16014).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import ROWS, DocumentSums

NAMES = ("norm_in", "norm_out", "norm_ratio", "reconstruction_bias")
PART = ROWS


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Each row's lengths and products; a ratio counts where the activation is not zero."""
    norm, norm_hat = (torch.linalg.vector_norm(v, dim=1).double() for v in (batch.x, batch.x_hat))
    defined = norm > 0
    return {
        "norm": norm,
        "norm_hat": norm_hat,
        "ratio": torch.where(defined, norm_hat / torch.where(defined, norm, 1), 0),
        "defined": defined,
        "square": norm_hat.square(),
        "product": torch.linalg.vecdot(batch.x, batch.x_hat),
    }


def values(totals: Totals) -> dict[str, np.ndarray]:
    """Means over tokens, and the ratio of totals."""
    return {
        "norm_in": totals["norm"] / totals["tokens"],
        "norm_out": totals["norm_hat"] / totals["tokens"],
        "norm_ratio": totals["ratio"] / totals["defined"],
        "reconstruction_bias": totals["square"] / totals["product"],
    }


start = partial(DocumentSums, terms, values)
