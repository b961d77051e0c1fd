"""Take the feature out: its value becomes 0, what the dictionary does not explain stays."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PROJECTION, NEEDS_DOSE, HAS_UNIT = False, False, False


def change(value: Float[Tensor, " n"], dose: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What makes the value 0."""
    return -value
