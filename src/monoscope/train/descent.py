"""What all methods with an encoder share, but for the 2023 recipe: how fast weights move, and what any may be told."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.train import gradients, resampling, schedules
from monoscope.train.median import geometric_median
from monoscope.train.objective import Objective
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, SWITCH, Allowed, Choice, Range

RATIO = "d_in/n_features"


class Descent(Objective):
    """Options of the descent: ``decoder_rate`` and ``bias_rate`` are learning rates in units of the encoder's, that of
    the encoder's and decoder's biases (at 0) half the length of a row, since a bias is the weight of one more input, as
    long as all others together; ``beta1`` and ``beta2`` are Adam's; those of ``Gradients``.

    Options of the beginning: decoder rows have the norm ``decoder_scale`` (1; another only where they are free), the
    encoder's ``encoder_scale`` times that, a number or ``"d_in/n_features"``, by default what the method finds best;
    with a ``decoder_bias`` of ``"median"`` instead of ``"zero"`` the decoder's bias is the rows' geometric median, and
    the encoder reads rows around it.

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
        **gradients.DEFAULTS,
        "decoder_scale": 1.0,
        "encoder_scale": None,
        "decoder_bias": "zero",
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
        **gradients.ALLOWED,
        "decoder_scale": POSITIVE,
        "encoder_scale": replace(POSITIVE, words=(RATIO,)),
        "decoder_bias": Choice(("zero", "median")),
        "tied": SWITCH,
        "decoder_norm": Choice(("unit", "free")),
        "dense_penalty": NOT_NEGATIVE,
        "dense_above": Range(0, 1, above=True),
        **resampling.ALLOWED,
    }

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        if self.unit_rows and self.options["decoder_scale"] != 1:
            raise MonoscopeError(
                f"decoder_scale is {self.options['decoder_scale']:g} where decoder rows are held to unit norm",
                fix="pass decoder_norm='free' as well, or leave it out",
            )

    @torch.no_grad()
    def begin(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As every objective; around the geometric median, if that is asked for."""
        if self.options["decoder_bias"] == "zero":
            self.initialise(dictionary, x, y)
            return
        middles = [geometric_median(rows) for rows in (x, y)]
        self.initialise(dictionary, x - middles[0], y - middles[1])
        dictionary.shift(*middles)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As every objective, with rows of the lengths that were told."""
        super().initialise(dictionary, x, y)
        told, lengths = self.options["encoder_scale"], self.options["decoder_scale"]
        ratio = dictionary.d_in / dictionary.n_features if told == RATIO else 1.0 if told is None else told
        dictionary.w_dec.data.mul_(lengths)
        dictionary.w_enc.data.mul_(lengths * ratio)

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
