"""Exact binomial intervals, against sums of exact fractions and their own definition."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope.evaluate import binomial


def exact(k: int, n: int, p: Fraction) -> float:
    return float(sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)))


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(0, 64))
def test_sums_are_those_of_exact_fractions(counts, eighths):
    k, n = counts
    p = Fraction(eighths, 64)
    assert binomial.at_most(k, n, float(p)) == pytest.approx(exact(k, n, p), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("n", [1, 7, 300, 20_000])
def test_bounds_of_none_and_all_have_a_closed_form(n):
    assert binomial.upper(0, n, 0.95) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)
    assert binomial.lower(n, n, 0.95) == pytest.approx(0.05 ** (1 / n), rel=1e-9)
    assert (binomial.lower(0, n, 0.95), binomial.upper(n, n, 0.95)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(5, 20, 0.08657147, 0.49104587), (1, 10, 0.00252858, 0.44501612)],
)
def test_known_intervals(k, n, low, high):
    found = binomial.rate(k, n)
    assert (found.value, found.low, found.high) == (k / n, pytest.approx(low, abs=2e-8), pytest.approx(high, abs=2e-8))


@pytest.mark.parametrize("n", [12, 40])
@pytest.mark.parametrize("p", [Fraction(1, 100), Fraction(1, 10), Fraction(1, 2)])
def test_intervals_hold_the_truth_as_often_as_they_say(n, p):
    probability = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    intervals = [binomial.rate(k, n) for k in range(n + 1)]
    covered = sum(q for q, i in zip(probability, intervals, strict=True) if i.low <= p <= i.high)
    assert covered >= Fraction(95, 100)


def test_nothing_counted_is_not_defined():
    assert binomial.rate(0, 0).value is None
