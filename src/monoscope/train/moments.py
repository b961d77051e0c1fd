"""What an objective may know of the optimiser."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from monoscope.train.schedules import Schedule


class Moments(Protocol):
    """The optimiser's memory, as far as an objective may touch it, and its learning rates."""

    @property
    def schedule(self) -> Schedule:
        """The learning rate by the share of tokens done."""
        ...

    def forget(self, name: str, rows: Tensor) -> None:
        """Zero the moments of these rows of a parameter."""
        ...
