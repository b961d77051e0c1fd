"""Assignments: brute force, optimality by duality of prices, planted permutations, degenerate scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.ops.assignment import assign, best_of_all


@given(st.integers(1, 6), st.integers(0, 2), st.integers(0, 10**6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_equals_trying_them_all(n, more, seed, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (n, n + more)).astype(float) if ties else rng.normal(size=(n, n + more))
    for wide in (scores, scores.T):  # either side may be the longer one
        rows, columns = assign(wide)
        assert len(set(columns.tolist())) == len(set(rows.tolist())) == n
        assert rows.tolist() == sorted(rows.tolist())
        assert wide[rows, columns].sum() == pytest.approx(best_of_all(scores), abs=1e-9)


def test_finds_a_planted_permutation():
    rng = np.random.default_rng(0)
    order = rng.permutation(300)
    scores = rng.normal(0, 0.1, (300, 300))
    scores[np.arange(300), order] += 1
    np.testing.assert_array_equal(assign(scores)[1], order)


def test_no_swap_of_two_or_three_rows_is_better():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(120, 120))
    _, columns = assign(scores)
    own = scores[np.arange(120), columns]
    swapped = scores[:, columns]
    assert np.all(own[:, None] + own[None] >= swapped + swapped.T - 1e-9)
    for a, b, c in rng.integers(0, 120, (2000, 3)):
        if len({a, b, c}) == 3:
            turned = swapped[a, b] + swapped[b, c] + swapped[c, a]
            assert own[a] + own[b] + own[c] >= turned - 1e-9


def test_what_cannot_be_assigned_is_refused():
    with pytest.raises(MonoscopeError, match="finite"):
        assign(np.array([[np.nan]]))
    assert len(assign(np.zeros((0, 4)))[0]) == 0
