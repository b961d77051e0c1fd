"""Reaching a wanted L0 by the weight of a penalty.

The L0 that belongs to a weight is not known beforehand, changes while the dictionary learns, and answers slowly. So the
weight is controlled: its logarithm moves with the logarithm of the ratio of L0 to what is wanted at that moment. The L0
is that of some steps ahead on its present course, for thresholds go on moving after a weight has changed. A part in
proportion answers at once; a part that adds up removes what is left; a part that adds up twice follows the steady
change that sharper features, annealing and a falling learning rate ask for. What is wanted glides down from the first
batch's L0, so that the controller never falls far behind, features are not killed early, and nothing saturates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from monoscope.errors import MonoscopeError

SMOOTH = 0.2  # weight of the newest batch in the running mean of log L0
TREND = 0.001  # of the part that learns how fast the weight must go on changing, a step
SETTLED = 0.4  # share of the training after which it does
PROPORTION = 1.0
LIMIT = 1.0  # of the error that counts: a factor of e


@dataclass(frozen=True)
class Pace:
    """How fast a penalty's weight answers.

    Args:
        gain: of the part that adds up, a step.
        ahead: steps by which the logarithm of the L0 is foreseen in a straight line.
    """

    gain: float
    ahead: int


BIASES = Pace(0.1, 20)  # features are closed by the penalty itself
THRESHOLDS = Pace(0.2, 40)  # which go on moving for long when the weight has changed


class Control(nn.Module):
    """The weight of a penalty: fixed, after a linear warm-up; or such that the wanted L0 is reached.

    Its state is buffers of the objective, so a resumed training goes on with it.

    Args:
        weight: the weight; with ``wanted``, the first one.
        wanted: the L0 to reach; None leaves the weight alone.
        warmup: share of the training in which the weight grows from 0.
        until: share of the training in which what is wanted falls from the first batch's L0 to ``wanted``.
        pace: how fast it answers.
    """

    log_weight: Tensor
    log_l0: Tensor
    log_first: Tensor
    drift: Tensor
    slope: Tensor

    def __init__(
        self, weight: float, wanted: float | None, warmup: float, until: float = 0.2, pace: Pace = BIASES
    ) -> None:
        super().__init__()
        if weight <= 0 or (wanted is not None and wanted <= 0):
            raise MonoscopeError(f"a penalty of {weight} for an L0 of {wanted}", fix="choose numbers above 0")
        if not 0 <= until <= 1:
            raise MonoscopeError(f"l0_until is {until}", fix="it is a share of the training, from 0 to 1")
        self.wanted, self.warmup, self.until, self.pace = wanted, warmup, until, pace
        self.goal = wanted or 1.0  # of the newest batch
        self.register_buffer("log_weight", torch.tensor(math.log(weight), dtype=torch.float64))
        self.register_buffer("drift", torch.zeros((), dtype=torch.float64))
        self.register_buffer("slope", torch.zeros((), dtype=torch.float64))
        self.register_buffer("log_l0", torch.tensor(math.nan, dtype=torch.float64))
        self.register_buffer("log_first", torch.tensor(math.nan, dtype=torch.float64))

    @property
    def begun(self) -> bool:
        """Whether a weight was ever asked for, with an L0 to reach."""
        return not math.isnan(float(self.log_first))

    def weigh(self, l0: float, progress: float) -> float:
        """The weight for a batch of that L0, at ``progress`` (0 to 1) of the training. To be called once a batch."""
        ramp = min(1.0, progress / self.warmup) if self.warmup else 1.0
        if self.wanted is None:
            return ramp * math.exp(float(self.log_weight))
        seen = math.log(max(l0, self.wanted / 100))
        if not self.begun:
            self.log_first.fill_(seen)
            self.log_l0.fill_(seen)
        before = float(self.log_l0)
        self.log_l0.lerp_(torch.tensor(seen, dtype=torch.float64), SMOOTH)
        self.slope.lerp_(torch.tensor(float(self.log_l0) - before, dtype=torch.float64), SMOOTH)
        left = max(0.0, 1 - progress / self.until) if self.until else 0.0
        goal = left * float(self.log_first) + (1 - left) * math.log(self.wanted)
        ahead = float(self.log_l0) + self.pace.ahead * float(self.slope)
        over, under = ahead - goal, math.log(self.wanted) - ahead
        error = min(LIMIT, max(0.0, over)) - min(LIMIT, max(0.0, under))  # falling faster than asked for is no error
        if progress > SETTLED:
            self.drift += TREND * error
        self.log_weight += self.pace.gain * error + self.drift
        self.goal = math.exp(goal)
        return ramp * math.exp(float(self.log_weight) + PROPORTION * error)

    def correct(self, ratio: float) -> None:
        """Multiply the weight, where the penalty's own scale has changed."""
        self.log_weight += math.log(ratio)
