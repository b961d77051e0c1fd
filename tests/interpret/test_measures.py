"""Measures against their definitions, and under weights against repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope.interpret.scorers import _measures as measures

NUMBERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3)), min_size=2, max_size=30)


def ranks(values):
    """Mean ranks by their definition."""
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])


def pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    if (x * x).sum() == 0:
        return 0.0 if (y * y).sum() else np.nan
    return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()) if (y * y).sum() else np.nan


def brute_auc(truth, scores):
    pairs = [(a > b) + (a == b) / 2 for a in scores[truth] for b in scores[~truth]]
    return np.mean(pairs) if pairs else np.nan


def brute_balanced(truth, said):
    if truth.all() or not truth.any():
        return np.nan
    return (said[truth].mean() + (~said)[~truth].mean()) / 2


@given(NUMBERS)
def test_weights_are_repetitions_and_values_those_of_the_definitions(rows):
    x, y, times = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    again = np.repeat(np.arange(len(x)), times.astype(int))
    truth, said = y > 1, x > 2
    expected = {
        "spearman": (measures.spearman(x, y), pearson(ranks(x[again]), ranks(y[again]))),
        "pearson": (measures.pearson(x, y), pearson(x[again], y[again])),
        "auc": (measures.auc(truth, x), brute_auc(truth[again], x[again])),
        "balanced": (measures.balanced_accuracy(truth, said), brute_balanced(truth[again], said[again])),
    }
    for name, (measure, value) in expected.items():
        assert measure(times[None])[0] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_known_values():
    x, y = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 6, 7, 8, 7])
    assert measures.spearman(x, y).on_all() == pytest.approx(0.8207826816681233)  # a textbook's example with one tie
    assert measures.spearman(x, -x).on_all() == pytest.approx(-1)
    truth, said = np.array([True] * 4 + [False] * 6), np.array([True] * 3 + [False] * 5 + [True] * 2)
    assert measures.balanced_accuracy(truth, said).on_all() == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert measures.precision(truth, said).on_all() == pytest.approx(3 / 5)
    assert measures.recall(truth, said).on_all() == pytest.approx(3 / 4)
    assert measures.f1(truth, said).on_all() == pytest.approx(2 * 3 / (4 + 5))
    assert measures.precision(truth, said & ~said).on_all() is None


def test_a_constant_prediction_is_worth_0_and_a_constant_truth_nothing():
    constant, varied = np.full(9, 0.1), np.arange(9.0)
    for measure in (measures.spearman, measures.pearson):
        assert measure(constant, varied).on_all() == 0
        assert measure(varied, constant).on_all() is None
    estimate = measures.estimate(measures.spearman(constant, varied), np.arange(9) // 2, 0)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_intervals_resample_documents():
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.5
    said = np.where(rng.random(400) < 0.8, truth, ~truth)
    apart = measures.estimate(measures.balanced_accuracy(truth, said), np.arange(400), 0)
    assert apart.low < 0.8 < apart.high and apart.high - apart.low == pytest.approx(
        2 * 1.96 * np.sqrt(0.16 / 400), rel=0.25
    )
    blocks = np.repeat(np.arange(8), 50)
    right = np.repeat(rng.random(8) < 0.8, 50)  # a document is told right as a whole
    together = measures.estimate(measures.balanced_accuracy(truth, np.where(right, truth, ~truth)), blocks, 0)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_seed_fixes_the_interval():
    x, y = np.random.default_rng(1).random((2, 60))
    documents = np.arange(60) // 4
    first, again, other = (measures.estimate(measures.spearman(x, y), documents, seed) for seed in (0, 0, 1))
    assert first == again and first != other and first.value == other.value
