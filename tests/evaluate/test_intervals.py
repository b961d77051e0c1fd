"""Intervals: coverage in a simulation, and documents, not tokens, as what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.evaluate.intervals import Resamples, bootstrap, jackknife, sample, student, tail


def ratio(totals):
    return {"ratio": totals["a"] / totals["n"]}


def documents(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Documents of unequal length, whose tokens share their document's level; the ratio's true value is 1."""
    tokens = rng.integers(5, 50, n).astype(float)
    level = 1 + rng.normal(0, 0.5, n)
    return {"a": tokens * level, "n": tokens}


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for i in range(300):
        e = bootstrap(documents(rng, 60), ratio, seed=i, number=300)["ratio"]
        hits += e.low <= 1 <= e.high
    assert 0.90 <= hits / 300 <= 0.985


@pytest.mark.parametrize(("n", "share"), [(2, 0.5), (3, 0.75), (5, 0.92), (10, 0.92), (20, 0.95)])
def test_intervals_of_few_documents_hold_the_truth_as_often_as_the_docs_say(n, share):
    rng, hits = np.random.default_rng(0), 0
    for i in range(400):
        e = bootstrap(documents(rng, n), ratio, seed=i)["ratio"]
        hits += e.low <= 1 <= e.high
    assert hits / 400 == pytest.approx(share, abs=0.05)  # two standard errors of a share of 400


@pytest.mark.parametrize(("n", "t"), [(2, 12.7062), (4, 3.1824), (7, 2.4469), (12, 2.2010), (30, 2.0452)])
def test_tails_are_those_of_the_expanded_interval(n, t):
    """Hesterberg's level: a normal distribution's tail beyond Student's t of n - 1, widened by sqrt(n / (n - 1))."""
    assert tail(n) == pytest.approx(math.erfc(t * math.sqrt(n / (n - 1) / 2)) / 2, rel=0.02, abs=1e-12)
    assert tail(n) < tail(10_000) == pytest.approx(0.025, rel=1e-3)


def test_more_tokens_within_documents_do_not_narrow_it():
    sample = documents(np.random.default_rng(1), 40)
    once = bootstrap(sample, ratio, seed=0)["ratio"]
    thrice = bootstrap({k: 3 * v for k, v in sample.items()}, ratio, seed=0)["ratio"]
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), rel=1e-12)
    more = bootstrap({k: np.tile(v, 9) for k, v in sample.items()}, ratio, seed=0)["ratio"]
    assert (more.high - more.low) == pytest.approx((once.high - once.low) / 3, rel=0.2)  # nine times the documents


def test_resamples_equal_brute_force():
    rng = np.random.default_rng(3)
    sums = {"a": rng.normal(size=7), "v": rng.normal(size=(7, 3, 2))}
    resamples = Resamples(7, seed=11, number=5)
    weights = np.concatenate(list(resamples.weights()))
    assert weights.shape == (5, 7) and np.all(weights.sum(1) == 7)
    totals = resamples.totals(sums)
    for r in range(5):
        drawn = np.repeat(np.arange(7), weights[r].astype(int))
        np.testing.assert_allclose(totals["a"][r], sums["a"][drawn].sum())
        np.testing.assert_allclose(totals["v"][r], sums["v"][drawn].sum(0))


def test_no_interval_for_a_ratio_that_is_not_defined():
    with np.errstate(invalid="ignore"):
        e = bootstrap({"a": np.zeros(4), "n": np.zeros(4)}, ratio, seed=0)["ratio"]
    assert e.to_json() == {"value": None, "low": None, "high": None}


@given(st.integers(0, 2**31), st.integers(2, 30))
@settings(max_examples=25, deadline=None)
def test_same_seed_same_interval(seed, n):
    sample = documents(np.random.default_rng(5), n)
    assert bootstrap(sample, ratio, seed, 50) == bootstrap(sample, ratio, seed, 50)


def test_dead_share_interval_covers_what_other_text_of_the_same_size_would_show():
    """Features with log-uniform rates over documents: the share that a sample misses, and its jackknife interval."""
    rng = np.random.default_rng(7)
    n_documents, n_features, groups = 200, 500, 20
    rates = 10 ** rng.uniform(-4, 0, n_features)
    expected = float(((1 - rates) ** n_documents).mean())
    hits = 0
    for _ in range(100):
        fired = rng.random((n_documents, n_features)) < rates
        by_group = fired.reshape(groups, -1, n_features).sum(1)
        counts = by_group.sum(0)
        without = np.array([(counts - g == 0).mean() for g in by_group])
        e = jackknife(float((counts == 0).mean()), without)
        assert e.low <= e.value <= e.high
        hits += e.low <= expected <= e.high
    assert hits >= 94


@pytest.mark.parametrize(
    ("freedom", "point"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (6, 2.4469), (9, 2.2622), (19, 2.0930), (30, 2.0423)]
)
def test_student_points(freedom, point):
    assert student(freedom) == pytest.approx(point, rel=1e-3)


def rivals(rng: np.random.Generator, n: int, gap: float = 0.1, own: float = 0.05) -> tuple[dict, dict]:
    """Two reconstructors' sums over the same documents: most of a document's level is the document's, little is theirs.

    The true values of the ratio are 1 + ``gap`` and 1.
    """
    tokens = rng.integers(5, 50, n).astype(float)
    level = 1 + rng.normal(0, 0.5, n)
    one, other = ({"a": tokens * (level + shift + rng.normal(0, own, n)), "n": tokens.copy()} for shift in (gap, 0.0))
    return one, other


def test_paired_difference_equals_brute_force():
    one, other = rivals(np.random.default_rng(2), 9)
    found = sample(one, ratio, 4, 60)["ratio"].minus(sample(other, ratio, 4, 60)["ratio"])
    drawn = []
    for weights in np.concatenate(list(Resamples(9, 4, 60).weights())):
        kept = np.repeat(np.arange(9), weights.astype(int))
        a, b = (s["a"][kept].sum() / s["n"][kept].sum() for s in (one, other))
        drawn.append(a - b)
    expected = [
        one["a"].sum() / one["n"].sum() - other["a"].sum() / other["n"].sum(),
        *np.quantile(drawn, [tail(9), 1 - tail(9)]),
    ]
    np.testing.assert_allclose([found.value, found.low, found.high], expected, rtol=1e-9)


@pytest.mark.parametrize(("n", "share"), [(2, 0.5), (3, 0.25), (5, 0.08), (20, 0.05)])
def test_of_few_documents_equals_differ_as_often_as_the_docs_say(n, share):
    rng, wrong = np.random.default_rng(1), 0
    for i in range(400):
        one, other = (sample(s, ratio, i)["ratio"] for s in rivals(rng, n, gap=0.0))
        e = one.minus(other)
        wrong += not e.low <= 0 <= e.high
    assert wrong / 400 == pytest.approx(share, abs=0.05)


def test_a_constant_gap_is_known_exactly():
    """Closed form: where one is the other plus a constant on every token, every resample shows the constant."""
    one, other = rivals(np.random.default_rng(3), 50, gap=0.0, own=0.0)
    shifted = {"a": one["a"] + 0.25 * one["n"], "n": one["n"]}
    e = sample(shifted, ratio, 0)["ratio"].minus(sample(other, ratio, 0)["ratio"])
    np.testing.assert_allclose([e.value, e.low, e.high], 0.25, rtol=1e-9)


def test_paired_interval_covers_and_is_far_narrower_where_documents_are_shared():
    rng = np.random.default_rng(6)
    hits, paired, unpaired = 0, [], []
    for i in range(200):
        one, other = (sample(s, ratio, i, 300)["ratio"] for s in rivals(rng, 60))
        e = one.minus(other)
        hits += e.low <= 0.1 <= e.high
        paired.append(e.high - e.low)
        widths = [x.estimate().high - x.estimate().low for x in (one, other)]
        unpaired.append(float(np.hypot(*widths)))
    assert 0.90 <= hits / 200 <= 0.99
    assert np.mean(paired) < 0.2 * np.mean(unpaired)


def test_resamples_without_a_value_are_left_out_of_the_difference():
    one, other = {"a": np.array([1.0, 2, 3]), "n": np.array([1.0, 1, 0])}, {"a": np.ones(3), "n": np.ones(3)}
    with np.errstate(divide="ignore", invalid="ignore"):
        e = sample(one, ratio, 0)["ratio"].minus(sample(other, ratio, 0)["ratio"])
    assert e.value == 2 and np.isfinite([e.low, e.high]).all()
