"""The drift alarm: how often it is raised for nothing, that it is raised for something, and pieces don't matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from watch_world import model, some_rules, tokens

import monoscope as ms
from monoscope.errors import MonoscopeError
from monoscope.signals.direction import Direction
from monoscope.watch import drift
from monoscope.watch.drift import Drift, Windows, calibrated, interval
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay, seen
from monoscope.watch.rules import Rules, Signal


def rules(*ranges: tuple[float, float]) -> Rules:
    return Rules(tuple(Signal(f"s{i}", Direction("d", i), density=r) for i, r in enumerate(ranges)))


def texts(generator: np.random.Generator, n: int, density: float, spread: float, length: int = 64) -> np.ndarray:
    """Sequences of tokens that depend on one another: each has a density of its own around the common one."""
    a, b = density / spread, (1 - density) / spread
    return (generator.random((n, length)) < generator.beta(a, b, (n, 1))).astype(np.float32)


@pytest.mark.parametrize(("density", "spread"), [(0.2, 0.001), (0.2, 0.3), (0.01, 0.05), (0.001, 0.001)])
def test_false_alarms_are_rare_although_tokens_depend_on_one_another(density: float, spread: float) -> None:
    generator, wrong = np.random.default_rng(0), 0
    for _ in range(400):
        units = texts(generator, 64, density, spread).sum(1)
        _, low, high = interval(np.full(64, 64.0), units.astype(float))
        wrong += not low <= density <= high
    assert wrong <= 12  # 3 %; a token counted as independent gives ten times that where sequences differ


def test_a_change_is_seen_and_so_is_its_end() -> None:
    generator, made = np.random.default_rng(0), Drift(rules((0.08, 0.12)))
    found = []
    for block, density in enumerate((0.1, 0.3, 0.3, 0.1)):
        for i, row in enumerate(texts(generator, 64, density, 0.05)):
            found += made.see(64 * block + i, row[:, None])
    assert [(d.kind, d.tokens) for d in found] == [("raised", 8192), ("cleared", 16384)]
    assert found[0].low > 0.12 and found[0].low < found[0].density < found[0].high


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(0, 9))
def test_pieces_do_not_matter(lengths: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    fed = [(int(generator.integers(0, 12)), generator.integers(0, 2, (n, 2)).astype(float)) for n in lengths]
    whole, single = Drift(rules((0.0, 0.1), (0.45, 0.55)), 64), Drift(rules((0.0, 0.1), (0.45, 0.55)), 64)
    assert [d for s, v in fed for d in whole.see(s, v)] == [
        d for s, v in fed for row in v for d in single.see(s, row[None])
    ]


def test_a_window_needs_tokens_and_sequences() -> None:
    windows = Windows(1, 10)
    assert not list(windows.see(0, np.ones((100, 1))))
    for i in range(1, 7):
        assert not list(windows.see(i, np.ones((1, 1))))
    (found,) = windows.see(7, np.zeros((1, 1)))
    assert found.tolist() == [[100, 100], *[[1, 1]] * 6, [1, 0]]


def test_calibration_keeps_the_range_and_live_and_offline_alarms_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift.Drift.__init__, "__defaults__", (40,))
    made = some_rules(tmp_path)
    with ms.watch(model(), made, record=tmp_path / "r"):
        for seed in range(6):
            model()(input_ids=tokens(4, 12, seed))
    recording = Recording(tmp_path / "r")
    found = calibrated(made, seen(recording, made), 40)
    for signal in found.signals:
        assert signal.density is not None and 0 <= signal.density[0] <= signal.density[1] <= 1
    shifted = Rules(tuple(Signal(s.name, s.of, s.site, s.bias, density=(0.99, 1.0)) for s in made.signals), made.rules)
    with ms.watch(model(), shifted, record=tmp_path / "again") as watching:
        for seed in range(6):
            model()(input_ids=tokens(4, 12, seed))
    again = replay(Recording(tmp_path / "again"), shifted)
    assert again.drifted == watching.drifted != []
    assert 'monoscope_watch_drift{signal="three"} 1' in watching.acting.metrics.text()
    with pytest.raises(MonoscopeError, match="no window of 4096"):
        calibrated(made, seen(recording, made))
