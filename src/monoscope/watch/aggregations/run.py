"""On how many tokens in a row, up to this one, the value was above ``level``."""

from __future__ import annotations


class Aggregation:
    """``level``: what a value must exceed."""

    def __init__(self, level: float = 0.0) -> None:
        self.level, self.length = float(level), 0

    def step(self, value: float) -> float:
        """The length of the run that this token ends; 0 where it is not above the level."""
        self.length = self.length + 1 if value > self.level else 0
        return float(self.length)
