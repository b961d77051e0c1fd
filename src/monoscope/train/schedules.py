"""How large a batch and a learning rate are by the length of a training, and what changes as it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real

from monoscope.errors import MonoscopeError, unknown_name

RATE, STEPS, FEATURES = 6e-3, 200, 3072
SMALLEST, LARGEST = 256, 4096  # rows a batch
COSINE_FROM = 0.1  # of the rate


def usual_rate(steps: int, n_features: int) -> float:
    """The learning rate for a training of so many steps: 0.006 up to 200 and 3,072 features, less beyond.

    Longer trainings average more and so want smaller steps: by the cube root. More features are each active more
    rarely and their gradients are noisier: by the square root. Found on activations of two models, with 200 to 1,000
    steps and 3,072 to 8,192 features (docs/log/2026-11-28-recipe.md); beyond, it is an extrapolation.
    """
    return RATE * float(min(1.0, STEPS / max(1, steps)) ** (1 / 3) * min(1.0, FEATURES / n_features) ** 0.5)


def usual_batch(n_rows: int) -> int:
    """Rows per step for a training on so many: the power of two that is nearest to the root of 1.3 times as many.

    256 to 4,096: 1,024 from 0.4 million rows on, 2,048 from 1.6 and 4,096 from 6.5. At equal rows more steps leave less
    unexplained, by 4 to 17 % at 0.8 million rows of three models' activations beside steps of 4,096 (L0 32), and take
    more time, about a third (docs/log/2026-11-30-batches.md).
    """
    return min(LARGEST, max(SMALLEST, 1 << round(math.log2(1.3 * max(1, n_rows)) / 2)))


def usual_silence(n_rows: int, batch_size: int) -> int:
    """Rows without a feature after which it counts as dead: a fortieth of a training on so many, 10 million at most.

    But at least 20,000 and 20 steps, or a tenth of what is shorter: after less, AuxK brings back what is only rare, and
    more is left unexplained; after more it finds few in time (docs/log/2026-11-30-silence.md).
    """
    least = min(max(20_000, 20 * batch_size), n_rows // 10)
    return min(10_000_000, max(n_rows // 40, least))


def batch_of(told: int | None, n_rows: int) -> int:
    """The batch size that was ``told``, or the usual one.

    Raises:
        MonoscopeError: what was told is no number of rows.
    """
    if told is not None and told < 1:
        raise MonoscopeError(f"a batch of {told} rows", fix="give batch_size at least 1, or leave it out")
    return usual_batch(n_rows) if told is None else told


def falling(start: float, until: float, progress: float) -> float:
    """What a final value is multiplied by: ``start`` at first, 1 from the share ``until`` on, in a line between."""
    left = max(0.0, 1 - progress / until) if until else 0.0
    return 1 + (start - 1) * left


def linear(done: float) -> float:
    """The share of the rate when the share ``done`` of the warm-up is done."""
    return done


def cosine(done: float) -> float:
    """The same, by half a wave from ``COSINE_FROM``."""
    return 1 - (1 - COSINE_FROM) * (1 + math.cos(math.pi * min(1.0, done))) / 2


SHAPES = {"linear": linear, "cosine": cosine}  # of a warm-up


@dataclass(frozen=True)
class Schedule:
    """Warm-up over the first ``warmup`` of the tokens, linear decay to zero over the last ``decay``.

    ``warmup_shape``: ``"linear"`` from 0, or ``"cosine"``, half a wave from a tenth of the rate (Lieberum et al. 2024).
    Without a ``rate`` it is to be told one: what the objective usually takes for a training of that length.
    """

    rate: float | None = None
    warmup: float = 0.05
    decay: float = 0.2
    warmup_shape: str = "linear"

    def __post_init__(self) -> None:
        rate = 1.0 if self.rate is None else self.rate
        if (
            not all(isinstance(number, Real) for number in (rate, self.warmup, self.decay))
            or not 0 < rate < math.inf
            or not min(self.warmup, self.decay) >= 0
            or not self.warmup + self.decay <= 1
        ):
            raise MonoscopeError(
                f"a learning rate of {self.rate} with warm-up {self.warmup} and decay {self.decay}",
                fix="the rate is above 0; warm-up and decay are shares of the tokens that add up to at most 1",
            )
        if self.warmup_shape not in SHAPES:
            raise unknown_name("shape of a warm-up", self.warmup_shape, list(SHAPES))

    def told(self, rate: float) -> Schedule:
        """This one, at ``rate`` if it has none."""
        return self if self.rate is not None else replace(self, rate=rate)

    def at(self, progress: float) -> float:
        """The learning rate when ``progress`` (0 to 1) of the tokens is done."""
        assert self.rate is not None
        up = SHAPES[self.warmup_shape](progress / self.warmup) if self.warmup else 1.0
        down = (1 - progress) / self.decay if self.decay else 1.0
        return self.rate * max(0.0, min(1.0, up, down))
