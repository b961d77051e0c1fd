"""Learning rates, as functions of the share of tokens that is done."""

from __future__ import annotations

from dataclasses import dataclass

from monoscope.errors import MonoscopeError


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up over the first ``warmup`` of the tokens, linear decay to zero over the last ``decay``."""

    rate: float
    warmup: float = 0.05
    decay: float = 0.2

    def __post_init__(self) -> None:
        if self.rate <= 0 or min(self.warmup, self.decay) < 0 or self.warmup + self.decay > 1:
            raise MonoscopeError(
                f"a learning rate of {self.rate} with warm-up {self.warmup} and decay {self.decay}",
                fix="the rate is above 0; warm-up and decay are shares of the tokens that add up to at most 1",
            )

    def at(self, progress: float) -> float:
        """The learning rate when ``progress`` (0 to 1) of the tokens is done."""
        up = progress / self.warmup if self.warmup else 1.0
        down = (1 - progress) / self.decay if self.decay else 1.0
        return self.rate * max(0.0, min(1.0, up, down))
