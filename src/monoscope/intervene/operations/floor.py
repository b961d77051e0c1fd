"""Let the value be at least a dose."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

PROJECTION, NEEDS_DOSE, HAS_UNIT = False, True, True


def change(value: Float[Tensor, " n"], dose: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What brings the value up to the dose where it is below."""
    return (dose - value).clamp(min=0)
