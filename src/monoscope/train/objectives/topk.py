"""Reconstruction through each row's k largest scores (Gao et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import select
from monoscope.train.selecting import SparseReconstruction
from monoscope.types import Code


class Objective(SparseReconstruction):
    """See ``SparseReconstruction``; ``k`` features a row."""

    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """Each row's k largest scores, those above 0."""
        with torch.no_grad():
            return select.topk(x, dictionary.w_enc, dictionary.b_enc, self.k(dictionary), self.precision())
