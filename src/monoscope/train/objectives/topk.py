"""Reconstruction through each row's k largest scores (Gao et al. 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import product
from monoscope.ops.topk import topk
from monoscope.train.objective import SparseReconstruction
from monoscope.types import Code


class Objective(SparseReconstruction):
    """See ``SparseReconstruction``; ``k`` features a row."""

    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """Each row's k largest scores, those above 0."""
        k = self.k(dictionary)
        indices, values = [], []
        with torch.no_grad():
            for _, scores in product.blocks(x, dictionary.w_enc, dictionary.b_enc, self.precision()):
                places, chosen = topk(scores, k)
                indices.append(places)
                values.append(chosen)
        return Code.from_rows(torch.cat(indices), torch.cat(values).float(), dictionary.n_features)
