"""The best set of tokens against all sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.interpret.claims import MOST_TOKENS
from monoscope.interpret.token_sets import best_set

N = 10


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["from nothing", "adding", "excluding"]))
def test_it_is_the_best_of_all_sets(seed, way):
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 60, N).astype(float)
    hits = np.floor(rows * rng.random(N))
    base_hits, base_rows = (0.0, 0.0) if way == "from nothing" else (hits.sum(), rows.sum() + 20)
    if way == "excluding":
        hits, rows = -hits, -rows
    on = float(hits.max() * 0 + 400)
    members = np.empty(MOST_TOKENS, dtype=np.int64)
    found = best_set(hits, rows, N, base_hits, base_rows, on, 0.0, 0.0, members)
    best = max(
        2 * (base_hits + hits[list(c)].sum()) / (on + base_rows + rows[list(c)].sum())
        for size in range(MOST_TOKENS + 1)
        for c in combinations(range(N), size)
    )
    chosen = members[members >= 0]
    assert found == pytest.approx(best)
    assert 2 * (base_hits + hits[chosen].sum()) / (on + base_rows + rows[chosen].sum()) == pytest.approx(best)
    # it is found by looking above a little less, and nothing is by looking above a little more
    assert best_set(hits, rows, N, base_hits, base_rows, on, 0.0, best - 1e-6, members) == pytest.approx(best)
    chosen = members[members >= 0]
    assert 2 * (base_hits + hits[chosen].sum()) / (on + base_rows + rows[chosen].sum()) == pytest.approx(best)
    assert best_set(hits, rows, N, base_hits, base_rows, on, 0.0, best + 1e-6, members) == best + 1e-6
    assert (members < 0).all()


def test_a_token_must_be_worth_naming():
    members = np.empty(MOST_TOKENS, dtype=np.int64)
    hits, rows = np.array([90.0, 1.0]), np.array([100.0, 1.0])
    assert best_set(hits, rows, 2, 0.0, 0.0, 100.0, 0.0, 0.0, members) == pytest.approx(2 * 91 / 201)
    assert members.tolist() == [0, 1] + [-1] * 6
    assert best_set(hits, rows, 2, 0.0, 0.0, 100.0, 0.05, 0.0, members) == pytest.approx(2 * 90 / 200)
    assert members.tolist() == [0] + [-1] * 7
