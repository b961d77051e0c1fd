"""On how many tokens the value was above ``level``, so far or among the last ``window``."""

from __future__ import annotations

from monoscope.watch.aggregations._window import last


class Aggregation:
    """``level``: what a value must exceed. ``window``: so many tokens back; None is the whole sequence."""

    def __init__(self, level: float = 0.0, window: int | None = None) -> None:
        self.level, self.count = float(level), 0
        self.values = None if window is None else last(window)

    def step(self, value: float) -> float:
        """The count with this one."""
        above = value > self.level
        if self.values is not None:
            self.values.append(float(above))
            return sum(self.values)
        self.count += above
        return float(self.count)
