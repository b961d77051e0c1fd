"""Gated autoencoders (Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders").

A gate decides whether a feature is active, a magnitude how strongly: with ``u = x @ w_encᵀ`` the code is
``[u + b_enc > 0] · relu(u · exp(r_mag) + b_mag)``. The two share their directions, so the gate is a threshold on the
magnitude's score, and encoding needs one product.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope.dictionary.base import Dictionary
from monoscope.ops import encode
from monoscope.ops.encode import Gates
from monoscope.types import Code


class Architecture(Dictionary):
    """``b_enc`` is the gate's bias, ``b_mag`` the magnitude's, ``exp(r_mag)`` the ratio of their encoders."""

    objective = "gated"

    def __init__(self, d_in: int, n_features: int, d_out: int | None = None, **options: Any) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        self.r_mag = nn.Parameter(torch.zeros(n_features))
        self.b_mag = nn.Parameter(torch.zeros(n_features))

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """Positive magnitudes of open gates."""
        return encode.above(x, *self.gates())

    def gates(self) -> Gates:
        """``u + b_enc > 0`` says that the magnitude exceeds a threshold."""
        ratio = self.r_mag.exp()
        return Gates(self.w_enc * ratio[:, None], self.b_mag, (self.b_mag - ratio * self.b_enc).relu())

    def scale(self, s: float) -> None:
        """The magnitude's bias is a bias."""
        super().scale(s)
        self.b_mag.data.mul_(s)

    def shift(self, mean_in: Float[Tensor, " d_in"], mean_out: Float[Tensor, " d_out"]) -> None:
        """Both biases take the mean."""
        super().shift(mean_in, mean_out)
        self.b_mag.data.sub_(self.r_mag.data.exp() * (self.w_enc.data @ mean_in))
