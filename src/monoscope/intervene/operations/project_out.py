"""Take the direction out: nothing along it is left, whatever it came from."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PROJECTION, NEEDS_DOSE, HAS_UNIT = True, False, False


def change(value: Float[Tensor, " n"], dose: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What makes the projection 0."""
    return -value
