"""Splits: clusters whole, shares about right, and nothing moves when documents come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.text import splits

SHARES = {"dictionary": 0.6, "fit": 0.2, "test": 0.2}


@given(parents=st.lists(st.integers(0, 30), min_size=1, max_size=60), seed=st.integers(0, 9))
def test_clusters_stay_together(parents: list[int], seed: int) -> None:
    clusters = np.array([min(p, i) for i, p in enumerate(parents)])
    clusters = np.array([clusters[c] for c in clusters])
    while not np.array_equal(clusters, clusters[clusters]):
        clusters = clusters[clusters]
    found = splits.assign([f"d{i}" for i in range(len(parents))], [1] * len(parents), clusters, SHARES, seed=seed)
    assert all(found[i] == found[c] for i, c in enumerate(clusters))


@pytest.mark.parametrize("name", ["file/{}", "package/module_{}.py", "{}"])
def test_shares_are_those_asked_for(name: str) -> None:
    n = 5000
    found = splits.assign([name.format(i) for i in range(n)], [1] * n, np.arange(n), SHARES)
    for split, share in SHARES.items():
        assert abs(found.count(split) / n - share) < 5 * np.sqrt(share * (1 - share) / n)


def test_more_documents_move_nothing() -> None:
    names = [f"d{i}.py" for i in range(400)]
    before = dict(zip(names, splits.assign(names, [1] * 400, np.arange(400), SHARES)))
    more = sorted(names + [f"new{i}.py" for i in range(300)])
    after = dict(zip(more, splits.assign(more, [1] * 700, np.arange(700), SHARES)))
    assert all(after[name] == split for name, split in before.items())


def test_the_seed_changes_the_draw() -> None:
    names = [f"d{i}" for i in range(200)]
    draws = [splits.assign(names, [1] * 200, np.arange(200), SHARES, seed=seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_huge_cluster_goes_to_the_largest_split() -> None:
    n = 300
    clusters = np.arange(n)
    clusters[200:] = 200
    for seed in range(10):
        found = splits.assign([f"d{i}" for i in range(n)], [100] * n, clusters, SHARES, seed=seed)
        assert set(found[200:]) == {"dictionary"}


def test_shares_must_add_up() -> None:
    with pytest.raises(MonoscopeError, match=r"add up to 0\.9"):
        splits.assign(["a"], [1], np.zeros(1, np.int64), {"fit": 0.5, "test": 0.4})
