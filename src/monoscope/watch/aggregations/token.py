"""The token's own value."""

from __future__ import annotations


class Aggregation:
    """Takes no options."""

    def step(self, value: float) -> float:
        """The value."""
        return value
