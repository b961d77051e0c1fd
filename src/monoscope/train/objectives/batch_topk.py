"""Reconstruction through the ``k × rows`` largest scores of a batch (Bussmann et al. 2024).

The batch's scores are made block by block and never kept: the previous batch's threshold, eased a little, picks
candidates, and the exact cut is taken among them. Should the guess have been too high, it is lowered and the blocks are
made again, so the selection is always exact.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import product
from monoscope.ops.above import above
from monoscope.ops.topk import topk
from monoscope.train.objective import SparseReconstruction
from monoscope.types import Code


class Objective(SparseReconstruction):
    """See ``SparseReconstruction``; ``k`` features a row on average. Calibrates the threshold at the end."""

    calibrates: ClassVar[bool] = True
    guess: Tensor

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        self.register_buffer("guess", torch.zeros(()))

    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """The ``k × rows`` largest positive scores of the batch; ties at the cut go to earlier rows."""
        wanted = self.k(dictionary) * len(x)
        with torch.no_grad():
            floor = float(self.guess) * 0.9
            rows, indices, values = self.candidates(dictionary, x, floor)
            while len(values) < wanted and floor > 0:
                floor = floor * 0.5 if floor > 1e-3 else 0.0
                rows, indices, values = self.candidates(dictionary, x, floor)
            cut = torch.topk(values, min(wanted, len(values))).values.min() if len(values) else values.new_zeros(())
            keep = values > cut
            ties = (values == cut).nonzero()[:, 0][: max(0, wanted - int(keep.sum()))]
            keep[ties] = True
            self.guess.copy_(cut)
            counts = torch.bincount(rows[keep], minlength=len(x))
            offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Code(indices[keep], values[keep], offsets, dictionary.n_features)

    def candidates(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], floor: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(row, feature, score) of every score above ``floor``, row after row."""
        parts = []
        for first, scores in product.blocks(x, dictionary.w_enc, dictionary.b_enc, self.precision()):
            counts, features, values = above(scores, floor)
            parts.append((torch.repeat_interleave(torch.arange(first, first + len(counts)), counts), features, values))
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        return columns[0], columns[1], columns[2]

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Set the threshold that keeps k features a row on average on rows that were not trained on."""
        k = int(dictionary.options()["k"])
        width = min(dictionary.n_features, 8 * k)  # a row with over 8 k active features would be cut short here
        best = []
        with torch.no_grad():
            for _, scores in product.blocks(x, dictionary.w_enc, dictionary.b_enc, torch.float32):
                best.append(topk(scores, width)[1].flatten())
        values = torch.cat(best)
        values = values[values > 0]
        wanted = min(k * len(x), len(values) - 1)
        threshold = torch.topk(values, wanted + 1).values.min()
        dictionary.get_buffer("threshold").fill_(float(threshold))
