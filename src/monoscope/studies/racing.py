"""Racing: many arms, a budget of pulls, and the best of them found by sequential halving with early elimination.

In each round every arm that is left, and the baseline, is pulled on the same further prompts (Karnin, Koren and Somekh
2013: a round has an equal share of the budget, and the worse half goes). An arm also goes as soon as its interval lies
below that of the leader (successive elimination; Even-Dar, Mannor and Mansour 2006). Intervals are of paired
differences to the baseline, at a level divided by the number of arms, by the normal approximation: they drop arms, and
prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from monoscope.errors import MonoscopeError

LEVEL = 0.05
LEAST = 4  # pulls of an arm in a round at least

Pull = Callable[[str, int, int], Sequence[float]]


@dataclass(frozen=True)
class Standing:
    """What is known of an arm: pulls, its mean, and its gain over the baseline with the race's interval.

    ``until`` is the last round that it was in, counted from 1.
    """

    arm: str
    pulls: int
    mean: float
    gain: float
    low: float
    high: float
    until: int


def rounds(arms: int) -> int:
    """How many rounds halving takes."""
    return max(1, math.ceil(math.log2(arms)))


def shares(arms: int, budget: int, prompts: int) -> list[tuple[int, int]]:
    """For each round: how many arms are left at most, and on how many prompts each is pulled; one prompt once an arm.

    Raises:
        MonoscopeError: the budget or the prompts are too few for a race.
    """
    plan, left, used, n = [], arms, 0, rounds(arms)
    for i in range(n):
        each = min(budget // n // (left + 1), (prompts - used) // (n - i))
        if each < LEAST:
            least = LEAST * n * (arms + 1)
            raise MonoscopeError(
                f"{budget} pulls and {prompts} prompts are too few to race {arms} arms over {n} rounds",
                fix=f"give at least {least} pulls and {LEAST * n} prompts, or fewer candidates and doses",
            )
        plan.append((left, each))
        used, left = used + each, math.ceil(left / 2)
    return plan


def race(
    arms: Sequence[str], baseline: str, pull: Pull, budget: int, prompts: int,
    progress: Callable[[int, str], None] = lambda pulls, note: None,
) -> list[Standing]:  # fmt: skip
    """Race the arms; best first.

    Args:
        arms: names.
        baseline: the name of what they are compared with.
        pull: gives the scores of an arm on prompts ``first`` to ``last`` (exclusive).
        budget: pulls of all arms and the baseline together.
        prompts: how many there are.
        progress: told after each arm's pulls how many they were, and where the race stands.

    Raises:
        MonoscopeError: see ``shares``.
    """
    plan = shares(len(arms), budget, prompts)
    scores: dict[str, list[float]] = {name: [] for name in (baseline, *arms)}
    left, until, used = list(arms), dict.fromkeys(arms, 0), 0
    z = NormalDist().inv_cdf(1 - LEVEL / len(arms) / 2)
    for number, (most, each) in enumerate(plan, 1):
        for arm in (baseline, *left[:most]):
            scores[arm] += pull(arm, used, used + each)
            progress(each, f"round {number} of {len(plan)}, {len(left)} arms")
        used += each
        for arm in left:
            until[arm] = number
        standing = {arm: _standing(arm, scores[arm], scores[baseline], z, number) for arm in left}
        leader = max(left, key=lambda arm: standing[arm].gain)
        able = [arm for arm in left if standing[arm].high >= standing[leader].low]
        left = sorted(able, key=lambda arm: -standing[arm].gain)[: math.ceil(most / 2)]
        if len(left) == 1:
            break
    found = [_standing(arm, scores[arm], scores[baseline], z, until[arm]) for arm in arms]
    return sorted(found, key=lambda s: (-s.until, s.arm != left[0], -s.gain))


def _standing(arm: str, scores: Sequence[float], baseline: Sequence[float], z: float, until: int) -> Standing:
    own: Float[np.ndarray, " n"] = np.asarray(scores, float)
    gains = own - np.asarray(baseline[: len(own)], float)
    reach = z * float(gains.std(ddof=1)) / math.sqrt(len(gains))
    gain = float(gains.mean())
    return Standing(arm, len(own), float(own.mean()), gain, gain - reach, gain + reach, until)
