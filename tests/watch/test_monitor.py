"""Monitors: the same events in whatever pieces, closed forms of every aggregation, hysteresis, durations, NaN."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.signals.direction import Direction
from monoscope.watch.aggregations import PACKAGE
from monoscope.watch.monitor import Event, Monitor
from monoscope.watch.precision import LARGEST, rounded
from monoscope.watch.rules import Condition, Rule, Rules, Signal

NAMES = ("a", "b")
SIGNALS = tuple(Signal(name, Direction("d", i)) for i, name in enumerate(NAMES))
OPTIONS: dict[str, dict[str, st.SearchStrategy]] = {
    "token": {},
    "max": {"window": st.none() | st.integers(1, 4)},
    "mean": {"window": st.none() | st.integers(1, 4)},
    "ema": {"half_life": st.floats(0.5, 8)},
    "count": {"level": st.floats(-1, 1), "window": st.none() | st.integers(1, 4)},
    "run": {"level": st.floats(-1, 1)},
}
levels = st.floats(-2, 2)
values = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), max_size=20).map(
    lambda rows: np.array(rows, np.float32).reshape(-1, 2)
)


@st.composite
def leaves(draw: Any) -> Condition:
    name = draw(st.sampled_from(sorted(OPTIONS)))
    low, high = sorted((draw(levels), draw(levels)))
    options = {key: draw(kind) for key, kind in OPTIONS[name].items()}
    return Condition(draw(st.sampled_from(NAMES)), high, low, name, options)


conditions = st.recursive(
    leaves(),
    lambda inner: st.tuples(st.sampled_from(("all", "any", "none")), st.lists(inner, min_size=1, max_size=3)).map(
        lambda made: Condition(**{made[0]: tuple(made[1])})
    ),
    max_leaves=4,
)
rules = st.lists(st.builds(Rule, st.just("r"), conditions, st.integers(1, 3), st.integers(1, 4)), max_size=3).map(
    lambda some: Rules(SIGNALS, tuple(Rule(f"r{i}", r.when, r.lasting, r.keep) for i, r in enumerate(some)))
)


def one(condition: Condition, **more: Any) -> Monitor:
    return Monitor(Rules(SIGNALS, (Rule("r", condition, **more),)))


def column(*numbers: float) -> np.ndarray:
    return np.stack([np.array(numbers), np.zeros(len(numbers))], 1)


def told(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.place, event.kind) for event in events]


def test_every_aggregation_is_tried() -> None:
    assert sorted(OPTIONS) == plugins.names(PACKAGE)


@settings(deadline=None)
@given(rules, values, st.lists(st.integers(0, 20), max_size=6), st.booleans())
def test_a_sequence_gives_the_same_events_in_whatever_pieces(
    made: Rules, fed: np.ndarray, cuts: list[int], pickled: bool
) -> None:
    whole, pieces = Monitor(made), Monitor(made)
    wanted = whole.step(fed)
    found = []
    for piece in np.split(fed, sorted(min(cut, len(fed)) for cut in cuts)):
        found += pieces.step(piece)
        pieces = pickle.loads(pickle.dumps(pieces)) if pickled else pieces
    assert found == wanted and pieces.active == whole.active and pieces.place == len(fed)


@settings(deadline=None)
@given(rules, values)
def test_values_as_they_are_recorded_give_the_same_events(made: Rules, fed: np.ndarray) -> None:
    assert Monitor(made).step(fed) == Monitor(made).step(rounded(fed))


@settings(deadline=None)
@given(leaves(), values)
def test_aggregations_are_what_they_say(leaf: Condition, fed: np.ndarray) -> None:
    seen, made = rounded(fed).astype(np.float64)[:, NAMES.index(str(leaf.signal))], leaf.aggregated()
    window, level = leaf.options.get("window") or len(seen), leaf.options.get("level", 0.0)
    kept = 0.5 ** (1 / leaf.options.get("half_life", 1.0))
    for i, value in enumerate(seen):
        past = seen[: i + 1]
        last = past[-window:]
        wanted = {
            "token": lambda v=value: v,
            "max": lambda p=last: p.max(),
            "mean": lambda p=last: p.mean(),
            "ema": lambda p=past: ((1 - kept) * kept ** np.arange(len(p))[::-1] * p).sum(),
            "count": lambda p=last: (p > level).sum(),
            "run": lambda p=past: len(p) if (p > level).all() else np.argmin(p[::-1] > level),
        }[leaf.aggregation]
        assert made.step(float(value)) == pytest.approx(float(wanted()), rel=1e-12, abs=1e-12)


@settings(deadline=None)
@given(st.lists(leaves(), min_size=1, max_size=3), values)
def test_joint_conditions_are_what_their_parts_say(parts: list[Condition], fed: np.ndarray) -> None:
    def holding(condition: Condition) -> np.ndarray:
        monitor, found = one(condition), []
        for row in fed:
            monitor.step(row[None])
            found.append(bool(monitor.active))
        return np.array(found, bool)

    alone = np.array([holding(part) for part in parts]).reshape(len(parts), len(fed))
    some = tuple(parts)
    assert np.array_equal(holding(Condition(all=some)), alone.all(0))
    assert np.array_equal(holding(Condition(any=some)), alone.any(0))
    assert np.array_equal(holding(Condition(none=some)), ~alone.any(0))


def test_an_alarm_is_raised_above_and_cleared_below() -> None:
    monitor = one(Condition("a", 2.0, 1.0))
    assert told(monitor.step(column(1, 2, 3, 1.5, 1, 0.5, 2, 2.5))) == [(2, "raised"), (5, "cleared"), (7, "raised")]
    assert monitor.active == ["r"]
    assert told(one(Condition("a", 0.0)).step(column(0, 1, 0, 0, 2))) == [(1, "raised"), (2, "cleared"), (4, "raised")]


def test_a_condition_must_last_and_an_alarm_is_kept() -> None:
    assert told(one(Condition("a", 0.0), lasting=3).step(column(1, 1, -1, 1, 1, 1, -1))) == [
        (5, "raised"),
        (6, "cleared"),
    ]
    assert told(one(Condition("a", 0.0), keep=3).step(column(1, -1, -1, -1, 1, 1, 1, 1, -1))) == [
        (0, "raised"), (3, "cleared"), (4, "raised"), (8, "cleared"),
    ]  # fmt: skip


def test_an_event_says_what_its_first_condition_saw() -> None:
    monitor = one(Condition(all=(Condition("a", 1.0, aggregation="max"), Condition("b", -1.0))))
    assert [event.value for event in monitor.step(column(0, 3, 2))] == [3.0]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_an_error_where_it_arises(wrong: float) -> None:
    monitor = one(Condition("a", 1.0))
    monitor.step(column(0, 0))
    with pytest.raises(MonoscopeError, match=r"a is .* on token 3"):
        monitor.step(column(0, wrong))
    with pytest.raises(MonoscopeError, match="2 signals"):
        monitor.step(np.zeros((2, 3)))


def test_large_values_are_the_largest_that_is_recorded() -> None:
    assert rounded(np.array([1e9, -1e9, 1e-9])).tolist() == [LARGEST, -LARGEST, 0.0]
    assert told(one(Condition("a", 65_000.0)).step(column(1e9))) == [(0, "raised")]
