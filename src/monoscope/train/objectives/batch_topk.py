"""Reconstruction through the ``k × rows`` largest scores of a batch (Bussmann et al. 2024); of few, as TopK first.

With fewer than ``FEW`` features a row, each row has its own k largest scores for the first half of the training. Scores
are too poor then to be compared across rows: those with little variance would get too few features, and what only they
need would die. The paper chooses across the batch from the first step (``topk_until=0``). Evidence, and why not for
every k: docs/log/2026-11-29-topk-first.md.

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
from monoscope.ops import select
from monoscope.train.calibrate import calibrate
from monoscope.train.objectives import topk
from monoscope.train.options import SHARE, Allowed
from monoscope.types import Code

FEW = 32  # features a row below which a training begins as TopK


class Objective(topk.Objective):
    """See ``SparseReconstruction``; ``k`` features a row on average. Calibrates the threshold at the end.

    Options beyond ``SparseReconstruction``'s: up to the share ``topk_until`` of the tokens the selection is TopK's; by
    default half of them where k is below ``FEW``, else 0.
    """

    calibrates: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {**topk.Objective.defaults, "topk_until": None}
    allowed: ClassVar[dict[str, Allowed]] = {**topk.Objective.allowed, "topk_until": SHARE}
    guess: Tensor

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        self.register_buffer("guess", torch.zeros(()))

    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """The ``k × rows`` largest positive scores of the batch; ties at the cut go to earlier rows. Before: TopK's."""
        if self.progress < self.topk_until(dictionary):
            return super().select(dictionary, x)
        wanted = self.k(dictionary) * len(x)
        with torch.no_grad():
            weights = (dictionary.w_enc, dictionary.b_enc)
            code = select.batch_topk(x, *weights, wanted, float(self.guess), self.precision())
            self.guess.copy_(select.least(code))
        return code

    def topk_until(self, dictionary: Dictionary) -> float:
        """The share of the tokens up to which each row has k features of its own."""
        told = self.options["topk_until"]
        return float(told) if told is not None else 0.5 * (int(dictionary.options()["k"]) < FEW)

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Set the threshold that keeps k features a row on average on rows that were not trained on."""
        calibrate(dictionary, x)
