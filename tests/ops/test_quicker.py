"""Of several ways to the same bits the quickest is found by taking each."""

from __future__ import annotations

import pytest

from monoscope.ops import quicker


@pytest.fixture
def clock(monkeypatch):
    """Time that only the work below lets pass."""
    now = [0.0]
    monkeypatch.setattr(quicker.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(quicker, "_took", {})
    return now


def taken(clock, seconds, ways, calls):
    """The ways that were taken; ``seconds``: of each way, the same whenever, or one of each try."""
    took = []

    def run(way):
        spent = seconds[way]
        clock[0] += spent if isinstance(spent, float) else spent[min(took.count(way), len(spent) - 1)]
        took.append(way)
        return "the same"

    assert {quicker.quickest("work", ways, run) for _ in range(calls)} == {"the same"}
    return took


def test_each_way_is_tried_and_the_quickest_kept(clock):
    took = taken(clock, {1: 2.0, 4: 1.0}, [1, 4], 20)
    first = 2 * quicker.TRIES
    assert took[:first] == [1, 4] * quicker.TRIES and set(took[first:]) == {4}


def test_a_first_call_that_compiles_does_not_decide(clock):
    took = taken(clock, {1: [9.0, 1.0], 4: 2.0}, [1, 4], 20)
    assert set(took[2 * quicker.TRIES :]) == {1}


def test_one_way_alone_is_not_timed(clock):
    taken(clock, {1: 1.0}, [1], 5)
    assert not quicker._took
