"""The mean so far, or of the last ``window`` tokens."""

from __future__ import annotations

from monoscope.watch.aggregations._window import last


class Aggregation:
    """``window``: so many tokens back, this one included, or as many as there are; None is the whole sequence."""

    def __init__(self, window: int | None = None) -> None:
        self.total, self.count = 0.0, 0
        self.values = None if window is None else last(window)

    def step(self, value: float) -> float:
        """The mean with this one."""
        if self.values is not None:
            self.values.append(value)
            return sum(self.values) / len(self.values)
        self.total += value
        self.count += 1
        return self.total / self.count
