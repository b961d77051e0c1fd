"""A dense probe: a direction in activation space, and how far a row lies along it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Probe:
    """``values(x) = x @ weight + bias``: one number per row."""

    weight: Float[Tensor, " d"]
    bias: float = 0.0

    def values(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The probe's score of each row."""
        return x.float() @ self.weight.to(x.device).float() + self.bias
