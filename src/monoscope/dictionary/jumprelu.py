"""JumpReLU (Rajamanoharan et al. 2024, "Jumping ahead"): scores count in full above a threshold that is learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope.dictionary.base import Dictionary
from monoscope.ops import encode
from monoscope.ops.encode import Gates
from monoscope.types import Code


class Architecture(Dictionary):
    """``encode(x)``: scores ``x @ w_encᵀ + b_enc`` that exceed ``exp(log_threshold)``, one per feature."""

    objective = "jumprelu"

    def __init__(self, d_in: int, n_features: int, d_out: int | None = None, **options: Any) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        self.log_threshold = nn.Parameter(torch.zeros(n_features))

    @property
    def threshold(self) -> Float[Tensor, " n_features"]:
        """What a score must exceed; differentiable."""
        return self.log_threshold.exp()

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """The scores above the threshold."""
        return encode.above(x, *self.gates())

    def gates(self) -> Gates:
        """Scores above the threshold."""
        return Gates(self.w_enc, self.b_enc, self.threshold)

    def scale(self, s: float) -> None:
        """Thresholds are scores, so they scale too."""
        super().scale(s)
        self.log_threshold.data.add_(math.log(s))
