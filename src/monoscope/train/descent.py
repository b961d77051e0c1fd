"""What all methods with an encoder share, but for the 2023 recipe: how fast weights move, and what any may be told."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from monoscope.dictionary.base import Dictionary
from monoscope.train import resampling, schedules
from monoscope.train.objective import Objective
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, SWITCH, Allowed, Choice, Range


class Descent(Objective):
    """Options of the descent: ``decoder_rate`` and ``bias_rate`` are learning rates in units of the encoder's, that of
    the encoder's and decoder's biases (at 0) half the length of a row, since a bias is the weight of one more input, as
    long as all others together; ``beta1`` and ``beta2`` are Adam's.

    Options that go with any method: ``tied``, whether encoder rows begin along the decoder's, or in directions of their
    own; ``decoder_norm``, ``"unit"``: decoder rows are held to unit norm, or ``"free"``; those of ``Resampling``;
    ``dense_penalty``, the weight of the penalty of ``train.dense`` on features that are active on a larger share of a
    batch's rows than ``dense_above``.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "decoder_rate": 2.0,
        "bias_rate": 0.0,
        "beta1": 0.8,
        "beta2": 0.99,
        "tied": True,
        "decoder_norm": "unit",
        "dense_penalty": 0.0,
        "dense_above": 0.1,
        **resampling.DEFAULTS,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        "decoder_rate": POSITIVE,
        "bias_rate": NOT_NEGATIVE,
        "beta1": Range(0, 1, below=True),
        "beta2": Range(0, 1, below=True),
        "tied": SWITCH,
        "decoder_norm": Choice(("unit", "free")),
        "dense_penalty": NOT_NEGATIVE,
        "dense_above": Range(0, 1, above=True),
        **resampling.ALLOWED,
    }

    @property
    def unit_rows(self) -> bool:
        """Whether decoder rows are held to unit norm."""
        return bool(self.options["decoder_norm"] == "unit")

    @property
    def betas(self) -> tuple[float, float]:
        """The options of these names."""
        return self.options["beta1"], self.options["beta2"]

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """By the rule of ``schedules``."""
        return schedules.usual_rate(steps, n_features)

    def rate_of(self, name: str, dictionary: Dictionary) -> float:
        """The decoder's and the biases' as the options say."""
        if name == "w_dec":
            return float(self.options["decoder_rate"])
        if name in ("b_enc", "b_dec"):
            return float(self.options["bias_rate"] or math.sqrt(dictionary.d_in) / 2)
        return 1.0
