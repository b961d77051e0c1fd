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
from monoscope.ops.above import Ragged
from monoscope.ops.largest import largest
from monoscope.train.calibrate import calibrate
from monoscope.train.objectives import topk
from monoscope.train.options import SHARE, Allowed
from monoscope.types import Code

SAMPLE = 64  # rows that the first guess of the threshold looks at
FEW = 32  # features a row below which a training begins as TopK
EASED = 0.9  # share of the last batch's threshold that a score must exceed to be a candidate


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
            floor = EASED * (float(self.guess) or self.first_guess(dictionary, x[:SAMPLE]))
            found = self.above(dictionary, x, floor)
            while len(found.values) < wanted and floor > 0:
                floor = floor * 0.5 if floor > 1e-3 else 0.0
                found = self.above(dictionary, x, floor)
            code = largest(found, wanted, dictionary.n_features)
            self.guess.copy_(code.values.min() if len(code.values) else torch.zeros(()))
        return code

    def topk_until(self, dictionary: Dictionary) -> float:
        """The share of the tokens up to which each row has k features of its own."""
        told = self.options["topk_until"]
        return float(told) if told is not None else 0.5 * (int(dictionary.options()["k"]) < FEW)

    def above(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], floor: float) -> Ragged:
        """The scores of the batch that exceed ``floor``."""
        k = self.k(dictionary)
        return select.above(x, dictionary.w_enc, dictionary.b_enc, floor, k, self.precision())

    def first_guess(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> float:
        """The cut among some rows alone, so that not even the first batch makes candidates of all its scores."""
        wanted = self.k(dictionary) * len(x)
        code = largest(self.above(dictionary, x, 0.0), wanted, dictionary.n_features)
        return float(code.values.min()) if len(code.values) else 0.0

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Set the threshold that keeps k features a row on average on rows that were not trained on."""
        calibrate(dictionary, x)
