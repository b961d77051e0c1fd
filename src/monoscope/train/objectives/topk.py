"""Reconstruction through each row's k largest scores (Gao et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops.topk import topk_of_tiles
from monoscope.train.objective import SparseReconstruction
from monoscope.types import Code


class Objective(SparseReconstruction):
    """See ``SparseReconstruction``; ``k`` features a row."""

    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """Each row's k largest scores, those above 0."""
        with torch.no_grad():
            indices, values = topk_of_tiles(self.scores(dictionary, x), len(x), self.k(dictionary))
        return Code.from_rows(indices, values.float(), dictionary.n_features)
