"""What becomes of gradients before Adam moves the weights: in which units they are, how they are clipped, its epsilon.

Losses are means over all numbers of a batch. Most papers sum a row's squared error instead, and weigh penalties against
that. Adam itself does not feel the factor between the two; clipping and epsilon do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from monoscope.ops.adam import EPSILON
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, Allowed, Choice


@dataclass(frozen=True)
class Gradients:
    """Options of every method.

    Args:
        clip: the largest norm of all gradients together; 0: they are not clipped.
        epsilon: Adam's, what is added to the root of the second moment.
        loss_per: the loss whose gradients these two speak of: per ``"number"``, or summed over a ``"row"``.
    """

    clip: float = 1.0
    epsilon: float = EPSILON
    loss_per: str = "number"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Gradients:
        """From an objective's options; what it does not have is as by default."""
        return cls(**{name: options[name] for name in DEFAULTS if name in options})

    def scale(self, norm: Float[Tensor, ""], d_out: int) -> float | Float[Tensor, ""]:
        """What gradients of the loss per number, of that norm, are multiplied by.

        A tensor where reading the norm would wait for a device.
        """
        unit = float(d_out) if self.loss_per == "row" else 1.0
        if not self.clip:
            return unit
        if norm.device.type != "cpu":
            return (self.clip / norm).clamp(max=unit)
        length = float(norm)
        return min(unit, self.clip / length) if length > 0 else unit


DEFAULTS: Mapping[str, Any] = asdict(Gradients())
ALLOWED: Mapping[str, Allowed] = {"clip": NOT_NEGATIVE, "epsilon": POSITIVE, "loss_per": Choice(("number", "row"))}
