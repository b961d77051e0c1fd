"""Penalty methods that begin as TopK, where an L0 is wanted.

While directions are still random, a penalty and its thresholds decide which features are heard at all, and many are
silenced that would have become good ones. So for the first half of the tokens each row has its own largest scores, as
many as the wanted L0, and no penalty; of more than ``FEW`` features a row, a batch has its largest, as BatchTopK's has.
Then whatever decides here which features are active takes over at the score that so many exceed, and the method goes
on as published. ``topk_until=0`` is the method from the first step.
Worth most in short trainings. Evidence: docs/log/2026-11-29-penalties-begin-as-topk.md.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import select
from monoscope.train.descent import Descent
from monoscope.train.options import SHARE, Allowed
from monoscope.train.penalised import Penalised
from monoscope.train.schedules import falling
from monoscope.train.selecting import ENCODER_SCALE, through
from monoscope.types import Code

USUAL = 0.5  # share of the tokens
FEW = 32  # features a row up to which each row has its own


class BegunAsTopK(Penalised):
    """Options beyond ``Penalised``'s: ``topk_until``, the share of the tokens that TopK (BatchTopK) takes, by default
    half of them where an L0 is wanted, else none. Its k may begin wide too: ``l0_start`` is 1 by default with such a
    start, and 3 without. ``auxk`` is on.
    """

    newborn: ClassVar[float] = 1.0  # as those who select have it
    defaults: ClassVar[dict[str, Any]] = {**Penalised.defaults, "auxk": 1 / 32, "l0_start": None, "topk_until": None}
    allowed: ClassVar[dict[str, Allowed]] = {**Penalised.allowed, "topk_until": SHARE}

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        if self.options["l0_start"] is None:
            self.options["l0_start"] = 1.0 if self.topk_until() else Penalised.defaults["l0_start"]
        if self.options["topk_until"] and self.options["l0"] is None:
            raise MonoscopeError("topk_until needs to know how many features a row has", fix="pass l0")
        if self.options["first_active"] is not None and self.topk_until():
            raise MonoscopeError(
                "first_active, but it begins as TopK, which chooses how many are active",
                fix="pass topk_until=0 as well, or l0_start instead",
            )
        self.guess = torch.zeros(())  # of a batch's cut: what is selected does not depend on it

    def topk_until(self) -> float:
        """The share of the tokens up to which each row has its own largest scores."""
        told = self.options["topk_until"]
        return float(told) if told is not None else USUAL * (self.options["l0"] is not None)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As TopK's, or as every penalty method's where none of the tokens are TopK's."""
        if not self.topk_until():
            super().initialise(dictionary, x, y)
            return
        Descent.initialise(self, dictionary, x, y)
        if self.options["encoder_scale"] is None:
            dictionary.w_enc.data.mul_(ENCODER_SCALE)

    @abstractmethod
    def take_over(self, dictionary: Dictionary, score: float) -> None:
        """From now on a feature is active where its score exceeds ``score``; as strongly as it was."""

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """TopK's ``mse`` and ``auxk`` to begin with, then what the method itself has."""
        if progress < self.topk_until():
            return through(self, dictionary, x, y, self.select(dictionary, x, progress))
        self.hand_over(dictionary, x)
        return super().losses(dictionary, x, y, progress)

    @torch.no_grad()
    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], progress: float) -> Code:
        """The largest positive scores of each row, or of all rows together."""
        weights = (dictionary.w_enc, dictionary.b_enc)
        wide = falling(self.options["l0_start"], self.options["l0_until"], progress)
        wanted = min(float(dictionary.n_features), self.options["l0"] * wide)
        if self.options["l0"] <= FEW:
            return select.topk(x, *weights, max(1, round(wanted)), self.precision())
        code = select.batch_topk(x, *weights, round(wanted * len(x)), float(self.guess), self.precision())
        self.guess = select.least(code)
        return code

    @torch.no_grad()
    def hand_over(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Once after TopK's share, at the score that as many of the rows' scores exceed as are wanted.

        ``finish`` begins with it: a training may end within that share.
        """
        if self.topk_until() and not self.control.begun:
            wanted = max(1, round(self.options["l0"] * len(x)))
            code = select.batch_topk(x, dictionary.w_enc, dictionary.b_enc, wanted + 1, 0.0, self.precision())
            self.take_over(dictionary, float(select.least(code)))
