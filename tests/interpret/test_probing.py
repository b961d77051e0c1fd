"""Probing: areas and thresholds by brute force, planted features, what a dense probe can and cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_coverage import postings, world

from monoscope.interpret.probing import (
    Tokens,
    auroc,
    best_threshold,
    frequent,
    judge,
    probe_activations,
    probe_features,
    values,
)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_area_counts_pairs(seed, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, 30).astype(float) if ties else rng.normal(size=30)
    holds, slots, weights = rng.random(30) < 0.4, rng.integers(0, 5, 30), rng.integers(0, 3, (4, 5)).astype(float)
    found = auroc(scores, holds, weights, slots)
    for r in range(4):
        w = weights[r][slots]
        won = total = 0.0
        for i in np.flatnonzero(holds):
            for j in np.flatnonzero(~holds):
                total += w[i] * w[j]
                won += w[i] * w[j] * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
        assert np.isnan(found[r]) if total == 0 else found[r] == pytest.approx(won / total)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_threshold_is_the_best(seed, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, 25).astype(float) if ties else rng.normal(size=25)
    holds = rng.random(25) < 0.4

    def f1(t):
        return 2 * (holds & (scores >= t)).sum() / max(1, holds.sum() + (scores >= t).sum())

    assert f1(best_threshold(scores, holds)) == pytest.approx(max(f1(t) for t in scores))


def test_the_threshold_is_that_of_the_fit_tokens_though_another_is_better_on_test():
    holds = np.array([[False], [False], [True], [True]])
    fit, test = (Tokens(np.arange(4), np.array([0, 1, 0, 1]), holds) for _ in range(2))
    fitted, scores = np.array([[0.0], [1], [2], [3]]), np.array([[0.0], [2], [3], [4]])
    found = judge(fitted, scores, fit, test, 0)
    assert found["auroc"].value == 1
    assert found["f1"].value == pytest.approx(2 * 2 / (3 + 2))  # from 2 on three are said, of which two hold


def test_values_are_read_where_a_feature_is_on():
    dense = np.array([[0, 2.0, 0, 3.0, 0], [0, 0, 0, 0, 0]])
    index = postings(dense)
    assert values(index, 0, np.array([0, 1, 3, 4])).tolist() == [0, 2, 3, 0]
    assert values(index, 1, np.array([0, 4])).tolist() == [0, 0]


@pytest.fixture(scope="module")
def planted():
    """A concept with a feature of its own, and one that is the union of two features."""
    rng = np.random.default_rng(0)
    n = 4000
    masks = rng.random((2, n)) < 0.2
    half = rng.random(n) < 0.5
    noise = rng.random((6, n)) * (rng.random((6, n)) < 0.1)
    dense = np.concatenate([[masks[0] * 1.0, (masks[1] & half) * 1.0, (masks[1] & ~half) * 2.0], noise])
    bits, fit, test = world(masks)
    rows = np.flatnonzero(fit), np.flatnonzero(test)
    return postings(dense), dense, *(Tokens.of(bits, [0, 1], r) for r in rows), bits


def test_one_feature_is_enough_for_its_concept_and_two_for_a_union(planted):
    index, _, fit, test, _ = planted
    one, five = (probe_features(index, fit, test, k) for k in (1, 5))
    assert one["auroc"].value == pytest.approx((1 + 0.75) / 2, abs=0.02)  # half of the union's tokens are missed
    assert five["auroc"].value == pytest.approx(1) and five["f1"].value == pytest.approx(1)
    e = one["auroc"].estimate()
    assert e.low < e.value < e.high


def test_the_dense_probe_sees_what_is_linear(planted):
    _, dense, fit, test, _ = planted
    rng = np.random.default_rng(1)
    x = (dense.T @ rng.normal(size=(len(dense), 12))).astype(np.float32)
    found = probe_activations(x[fit.rows], x[test.rows], fit, test)
    assert found["auroc"].value > 0.99
    blind = probe_activations(*(rng.normal(size=(len(t.rows), 4)).astype(np.float32) for t in (fit, test)), fit, test)
    assert blind["auroc"].value == pytest.approx(0.5, abs=0.05)
    assert probe_activations(x[fit.rows], x[test.rows], fit, test)["f1"].value == found["f1"].value


def test_frequent_concepts_are_chosen_evenly(planted):
    *_, fit, test, bits = planted
    assert sorted(frequent(bits, [0, 1], fit.rows, test.rows, 5)) == [0, 1]
    assert len(frequent(bits, [0, 1], fit.rows, test.rows, 1)) == 1
    assert frequent(bits, [0, 1], fit.rows[:50], test.rows[:50], 5) == []
