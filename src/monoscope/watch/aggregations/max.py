"""The largest value so far, or among the last ``window`` tokens."""

from __future__ import annotations

from monoscope.watch.aggregations._window import last


class Aggregation:
    """``window``: so many tokens back, this one included; None is the whole sequence."""

    def __init__(self, window: int | None = None) -> None:
        self.largest = float("-inf")
        self.values = None if window is None else last(window)

    def step(self, value: float) -> float:
        """The largest with this one."""
        if self.values is not None:
            self.values.append(value)
            return max(self.values)
        if value > self.largest:
            self.largest = value
        return self.largest
