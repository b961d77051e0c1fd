"""An exponential moving average, begun at 0: a value counts half as much after ``half_life`` tokens."""

from __future__ import annotations

import math

from monoscope.errors import MonoscopeError


class Aggregation:
    """``half_life``: in tokens. The average begins at 0, so that the first token alone raises no alarm."""

    def __init__(self, half_life: float = 8.0) -> None:
        if not (math.isfinite(half_life) and half_life > 0):
            raise MonoscopeError(f"a half-life of {half_life} tokens", fix="give a number above 0")
        self.kept, self.average = 0.5 ** (1 / half_life), 0.0

    def step(self, value: float) -> float:
        """The average with this one."""
        self.average = self.kept * self.average + (1 - self.kept) * value
        return self.average
