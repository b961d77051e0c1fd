import itertools
from pathlib import Path

import numpy as np
import pytest
from catalogue_world import indexed, random_dense
from hypothesis import given
from hypothesis import strategies as st

from monoscope.catalogue import cofiring
from monoscope.catalogue.cofiring import CoFiring
from monoscope.catalogue.statistics import ascending, groups, summarise
from monoscope.catalogue.top_tokens import TokenCounter


@given(st.lists(st.floats(2**-10, 100, width=16), max_size=60))
def test_every_value_is_summed_up(values: list[float]) -> None:
    array = np.array(values, np.float32)
    summary = summarise(array)
    assert sum(summary.histogram.counts) == len(values)
    if values:
        assert summary.max == max(values)
        assert summary.mean == pytest.approx(np.mean(values))
        edges = summary.histogram.edges
        assert edges[0] == 0 and edges[-1] == max(values)
        inside = [sum(a <= v < b for v in values) for a, b in itertools.pairwise(edges[:-1])]
        # values on an edge may fall either way by rounding of the edge
        assert np.abs(np.cumsum(inside) - np.cumsum(summary.histogram.counts[:-1])).max() <= len(values) / 10 + 1


def test_the_histogram_against_counting_by_hand() -> None:
    values = np.array([0.5, 1.5, 1.6, 2.5, 4.0], np.float32)
    assert summarise(values, bins=4).histogram.counts == [1, 2, 1, 1]


def test_negative_values_are_counted_too() -> None:
    summary = summarise(np.array([-2.0, -1.0, 2.0], np.float32), bins=4)
    assert (summary.histogram.edges[0], summary.histogram.counts) == (-2.0, [1, 1, 0, 1])


@given(st.lists(st.floats(-4, 4, width=16), max_size=50))
def test_ascending_is_a_stable_sort(values: list[float]) -> None:
    for array in (np.array(values, np.float16), np.abs(np.array(values, np.float16)), np.array(values, np.float32)):
        expected = np.argsort(array.astype(np.float64) + 0.0, kind="stable")
        assert array[ascending(array)].tolist() == array[expected].tolist()
        if not np.signbit(array).any():
            assert ascending(array).tolist() == expected.tolist()


@given(st.integers(0, 5000))
def test_groups_share_out_every_entry_once(n: int) -> None:
    ranks = sorted(rank for first, last in groups(n).values() for rank in range(first, last))
    assert ranks == list(range(n))


def test_groups_hold_shares_of_entries_not_of_the_range() -> None:
    sizes = {name: last - first for name, (first, last) in groups(1000).items()}
    assert sizes == {
        "99-100": 10, "95-99": 40, "90-95": 50, "75-90": 150, "50-75": 250, "25-50": 250, "0-25": 250,
    }  # fmt: skip


def test_top_tokens_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 12, 400).astype(np.uint32)
    column = random_dense(400, 3, 5)[:, 1]
    rows = np.flatnonzero(column).astype(np.uint32)
    counter = TokenCounter(tokens, np.bincount(tokens))
    for _ in range(2):  # the scratch memory is clean again after use
        by_mean, by_mass = counter.top(rows, column[rows])
        fired = {t: int(((tokens == t) & (column > 0)).sum()) for t in range(12)}
        mean = {t: column[tokens == t].mean() for t in range(12) if fired[t] >= 3}
        mass = {t: column[tokens == t].sum() / column.sum() for t in range(12) if fired[t]}
        assert by_mean.tokens.tolist() == sorted(mean, key=lambda t: -mean[t])[:10]
        assert by_mean.weights.tolist() == pytest.approx([mean[t] for t in by_mean.tokens.tolist()], rel=1e-5)
        assert by_mass.tokens.tolist() == sorted(mass, key=lambda t: -mass[t])[:10]
        assert by_mass.weights.tolist() == pytest.approx([mass[t] for t in by_mass.tokens.tolist()], rel=1e-5)
        assert by_mean.counts.tolist() == [fired[t] for t in by_mean.tokens.tolist()]


def test_rare_tokens_have_no_mean_unless_there_are_no_others() -> None:
    tokens = np.array([7, 7, 7, 3, 3, 3, 3], np.uint32)
    counter = TokenCounter(tokens, np.bincount(tokens))
    rows = np.array([0, 3, 4, 5], np.uint32)
    assert counter.top(rows, np.array([100.0, 1, 1, 1], np.float32))[0].tokens.tolist() == [3]
    assert counter.top(rows[:1], np.array([100.0], np.float32))[0].tokens.tolist() == [7]


def test_a_dead_feature_has_no_top_tokens() -> None:
    by_mean, by_mass = TokenCounter(np.zeros(3, np.uint32), np.array([3])).top(np.zeros(0, np.uint32), np.zeros(0))
    assert len(by_mean.tokens) == len(by_mass.tokens) == 0


@pytest.mark.parametrize("stride", [1, 3])
def test_phi_is_the_correlation_of_firing_over_the_whole_index(tmp_path: Path, stride: int) -> None:
    dense = random_dense(300, 20, 3, density=0.5)
    dense[:, 7] = np.where(dense[:, 6] > 0, 1, 0)  # fire together always
    index, spool = indexed(dense, tmp_path)
    steps = int(((dense > 0).sum(1) ** 2).sum())
    counted = CoFiring(index, spool, budget=steps if stride == 1 else steps // stride + 1)
    assert counted.stride == stride
    on = (dense > 0)[::stride]
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.corrcoef(on.T.astype(float)))
    together = on.T.astype(int) @ on.astype(int)
    expected[together < cofiring.MINIMUM] = 0
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose([counted.phi(f) for f in range(20)], expected, atol=1e-12)
    ids, phi = counted.strongest(6)
    assert (ids[0], phi[0]) == (7, pytest.approx(1))
    assert phi.tolist() == sorted(phi.tolist(), reverse=True) and (phi > 0).all()
    assert len(counted.strongest(0)[0]) == 0  # never fires
