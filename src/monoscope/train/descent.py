"""How fast weights move: what all methods with an encoder share, but for those that follow a paper's Adam."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from monoscope.dictionary.base import Dictionary
from monoscope.train import schedules
from monoscope.train.objective import Objective
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, Allowed, Range


class Descent(Objective):
    """Options of the descent: ``decoder_rate`` and ``bias_rate`` are learning rates in units of the encoder's, that of
    the encoder's and decoder's biases (at 0) half the length of a row, since a bias is the weight of one more input, as
    long as all others together; ``beta1`` and ``beta2`` are Adam's.
    """

    defaults: ClassVar[dict[str, Any]] = {"decoder_rate": 2.0, "bias_rate": 0.0, "beta1": 0.8, "beta2": 0.99}
    allowed: ClassVar[dict[str, Allowed]] = {
        "decoder_rate": POSITIVE,
        "bias_rate": NOT_NEGATIVE,
        "beta1": Range(0, 1, below=True),
        "beta2": Range(0, 1, below=True),
    }

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
