"""Add a dose, whatever the value is."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PROJECTION, NEEDS_DOSE, HAS_UNIT = True, True, True  # the value does not matter, and a projection is the cheap one


def change(value: Float[Tensor, " n"], dose: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The dose itself."""
    return dose
