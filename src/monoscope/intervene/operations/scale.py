"""Multiply the value by a factor."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PROJECTION, NEEDS_DOSE, HAS_UNIT = False, True, False


def change(value: Float[Tensor, " n"], dose: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What makes the value ``dose`` times itself."""
    return value * dose - value
