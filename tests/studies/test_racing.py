"""The race: its budget holds, it finds the best of arms whose means are known, and says so with its intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.studies.racing import LEAST, race, rounds, shares


class Bernoulli:
    """Arms that succeed with known chances, all on the same prompts; counts its pulls."""

    def __init__(self, chances: dict[str, float], prompts: int, seed: int) -> None:
        self.chances, self.pulls = chances, 0
        self.hard = np.random.default_rng(seed).random(prompts)
        self.seen: dict[str, int] = {}

    def __call__(self, arm: str, first: int, last: int) -> Sequence[float]:
        assert self.seen.get(arm, 0) == first  # each prompt once, in order
        self.seen[arm] = last
        self.pulls += last - first
        return (self.hard[first:last] < self.chances[arm]).astype(float).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 5000), st.integers(10, 800), st.integers(0, 3))
def test_the_budget_holds_and_every_arm_is_told(arms: int, budget: int, prompts: int, seed: int) -> None:
    names = [f"a{i}" for i in range(arms)]
    pull = Bernoulli({name: 0.2 + 0.5 * i / arms for i, name in enumerate(["plain", *names])}, prompts, seed)
    try:
        plan = shares(arms, budget, prompts)
    except MonoscopeError:
        assert budget < 2 * LEAST * rounds(arms) * (arms + 1) or prompts < 2 * LEAST * rounds(arms)
        return
    found = race(names, "plain", pull, budget, prompts)
    assert pull.pulls <= budget and max(pull.seen.values()) <= prompts
    assert sorted(s.arm for s in found) == sorted(names)
    assert all(s.pulls >= plan[0][1] and s.low <= s.gain <= s.high for s in found)


def test_the_best_arm_wins_with_more_pulls_than_the_others() -> None:
    chances = {"plain": 0.3, **{f"a{i}": 0.25 + 0.01 * i for i in range(15)}, "best": 0.6}
    wins = 0
    for seed in range(20):
        found = race(list(chances)[1:], "plain", Bernoulli(chances, 1000, seed), 4000, 1000)
        wins += found[0].arm == "best"
        assert found[0].until == max(s.until for s in found)
        assert found[-1].pulls <= found[0].pulls == max(s.pulls for s in found)
    assert wins >= 19


def test_intervals_cover_the_true_gain() -> None:
    chances = {"plain": 0.3, **{f"a{i}": 0.3 + 0.02 * i for i in range(8)}}
    missed = 0
    for seed in range(40):
        for s in race(list(chances)[1:], "plain", Bernoulli(chances, 2000, seed), 6000, 2000):
            missed += not s.low <= chances[s.arm] - 0.3 <= s.high
    assert missed <= 8  # of 320, at a level of 5 % over 8 arms; the normal approximation is not exact


def test_too_small_a_budget_is_refused_before_anything_is_pulled() -> None:
    with pytest.raises(MonoscopeError, match="too few to race 10 arms"):
        race([str(i) for i in range(10)], "plain", lambda *a: pytest.fail("pulled"), 50, 1000)
