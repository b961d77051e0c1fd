"""A world is what it says: frequencies, hierarchy, exclusion, correlation, magnitudes; and the same every time."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.ops import weighted_rows
from monoscope.train import rows as train_rows
from monoscope.worlds import Settings, World, build, preset, synthetic
from monoscope.worlds.presets import PRESETS
from monoscope.worlds.world import BLOCK, HELD_OUT, SITE, Source

ROWS = 40 * BLOCK


@pytest.fixture(scope="module")
def small():
    world = preset("small")
    return world, world.rows(ROWS)[1]


def fired(code) -> np.ndarray:
    """``(n_rows, n_true)``: who fires where."""
    dense = np.zeros((len(code), code.n_features), bool)
    dense[code.rows().numpy(), code.indices.numpy()] = True
    return dense


def binomial(p, n):
    """A deviation that a share of ``n`` draws hardly passes: 5 standard deviations and one draw."""
    return 5 * np.sqrt(p * (1 - p) / n) + 1 / n


def test_frequencies_are_the_declared_ones(small):
    world, code = small
    seen = np.bincount(code.indices.numpy(), minlength=world.n_true) / ROWS
    assert (np.abs(seen - world.frequencies) < binomial(world.frequencies, ROWS)).all()
    assert len(code.indices) / ROWS == pytest.approx(world.l0, rel=0.02)
    assert 3.5 < world.l0 < 4.5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_as_sparse_as_declared(name):
    world = preset(name)
    code = world.rows(8 * BLOCK)[1]
    assert len(code.indices) / len(code) == pytest.approx(world.l0, rel=0.02)


def test_children_imply_parents_and_exclusive_siblings_never_fire_together(small):
    world, code = small
    fires = fired(code[: 10 * BLOCK])
    child = np.flatnonzero(world.parents >= 0)
    assert len(child) == 16 * (3 + 9)
    assert not (fires[:, child] & ~fires[:, world.parents[child]]).any()
    for parent in np.unique(world.parents[child]):
        assert world.exclusive[parent]
        assert fires[:, world.parents == parent].sum(1).max() <= 1


def test_siblings_that_are_not_exclusive_fire_independently_given_their_parent():
    world = build(replace(PRESETS["small"], exclusive=0.0))
    fires = fired(world.rows(ROWS)[1])
    parent = int(world.parents[world.parents >= 0].min())
    a, b, c = np.flatnonzero(world.parents == parent)
    given_parent = fires[fires[:, parent]]
    for i, j in ((a, b), (a, c), (b, c)):
        both = world.frequencies[i] * world.frequencies[j] / world.frequencies[parent] ** 2
        assert abs((given_parent[:, i] & given_parent[:, j]).mean() - both) < binomial(both, len(given_parent))


def test_topics_correlate_features_as_the_closed_form_says():
    topics = np.array([[0.3, 0.05, 0.2], [0.1, 0.15, 0.2]])
    world = World(torch.eye(3), topics.mean(0), topics=topics)
    fires = fired(world.rows(ROWS)[1])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        both = (topics[:, i] * topics[:, j]).mean()
        assert abs((fires[:, i] & fires[:, j]).mean() - both) < binomial(both, ROWS)


def test_magnitudes_have_their_mean_and_spread():
    frequencies = np.full(3, 0.5)
    world = World(torch.eye(3), frequencies, magnitude=np.array([3.0, 2.0, 5.0]), spread=np.array([0.5, 0.2, 0.0]))
    code = world.rows(ROWS)[1]
    for feature, (mean, spread) in enumerate(zip(world.magnitude, world.spread, strict=True)):
        values = code.values[code.indices == feature].double().numpy()
        assert values.mean() == pytest.approx(mean, abs=5 * spread / np.sqrt(len(values)) + 1e-6)
        assert values.std() == pytest.approx(spread, rel=0.03, abs=1e-6)
        assert (values > 0).all()


def test_a_following_child_scales_with_its_parent():
    world = World(
        torch.eye(2), np.array([0.5, 0.5]), parents=np.array([-1, 0]), magnitude=2.0, spread=[0.5, 0.0], follow=True
    )
    dense = world.rows(BLOCK)[1].to_dense()
    torch.testing.assert_close(dense[:, 0], dense[:, 1])  # the child always fires, at 2 · parent / 2


def test_rows_are_what_the_code_makes_of_the_directions():
    quiet, loud = preset("small"), build(replace(PRESETS["small"], noise=0.25))
    x, code = quiet.block(3)
    torch.testing.assert_close(x, code.to_dense() @ quiet.directions + quiet.bias)
    assert float(quiet.bias.norm()) == pytest.approx(PRESETS["small"].bias, rel=1e-5)
    x, code = loud.block(3)
    left = x - weighted_rows.gather(code, loud.directions) - loud.bias
    assert float(left.std()) == pytest.approx(0.25, rel=0.01)


def test_the_same_seed_and_block_give_the_same_rows():
    one, two = preset("small"), preset("small")
    two.block(0)  # what was asked before does not matter
    for index in (0, 5, HELD_OUT):
        (x, code), (y, other) = one.block(index), two.block(index)
        assert torch.equal(x, y) and torch.equal(code.indices, other.indices) and torch.equal(code.values, other.values)
    assert not torch.equal(one.block(0)[0], one.block(1)[0])
    assert not torch.equal(one.block(0)[0], preset("small", seed=1).block(0)[0])


def test_blocks_rows_and_source_are_the_same_rows():
    world = preset("small")
    stream = torch.cat(list(islice(world.blocks(2), 3)))
    x, code = world.rows(2 * BLOCK + 7, start=2)
    assert torch.equal(x, stream[: len(x)]) and len(code) == len(x)
    torch.testing.assert_close(weighted_rows.gather(code, world.directions) + world.bias, x)

    data = train_rows.from_source(Source(world, 3, start=2), SITE, None, 1000, hold_back=False)
    whole = torch.cat([x for x, _ in data.batches(0)])
    assert torch.equal(whole, stream[: len(whole)])
    resumed = torch.cat([x for x, _ in data.batches(5000)])
    assert torch.equal(resumed, whole[5000:])


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 2**31))
def test_directions_are_a_frame_of_least_overlap(n, d, seed):
    rows = synthetic.frame(n, d, np.random.default_rng(seed))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(n))
    overlap = float((rows @ rows.T).square().sum()) - n
    least = max(0.0, n * n / d - n)
    assert least - 1e-3 <= overlap <= least + 0.05 * n


def test_frequencies_follow_zipf_and_shrink_where_parents_leave_no_room():
    settings_ = PRESETS["small"]
    meant = synthetic.zipf(settings_)
    assert meant[0] == pytest.approx(settings_.most) and meant[-1] == pytest.approx(settings_.least)
    world = build(settings_)
    assert (world.frequencies <= meant + 1e-12).all()
    assert np.allclose(world.frequencies[world.parents < 0], meant[world.parents < 0])
    for parent in np.unique(world.parents[world.parents >= 0]):
        children = world.parents == parent
        room = settings_.covered * world.frequencies[parent]
        assert world.frequencies[children].sum() == pytest.approx(min(room, meant[children].sum()))


def test_ancestors_go_up_to_the_root():
    world = World(torch.eye(4), np.array([0.4, 0.2, 0.1, 0.3]), parents=np.array([-1, 0, 1, -1]))
    assert world.ancestors() == [[], [0], [1, 0], []]


def test_a_feature_that_always_fires_always_fires():
    code = World(torch.eye(2), np.array([1.0, 0.25])).rows(BLOCK)[1]
    assert int((code.indices == 0).sum()) == BLOCK


def test_children_of_what_never_fires_never_fire():
    world = World(torch.eye(3), np.array([0.0, 0.0, 0.5]), parents=np.array([-1, 0, -1]))
    assert set(world.block(0)[1].indices.tolist()) == {2}


def test_worlds_that_cannot_be_are_refused():
    eye = torch.eye(3)
    with pytest.raises(MonoscopeError, match="more often than their parent"):
        World(eye, np.array([0.1, 0.2, 0.1]), parents=np.array([-1, 0, -1]))
    with pytest.raises(MonoscopeError, match="more often than their parent"):
        World(eye, np.array([0.3, 0.2, 0.2]), parents=np.array([-1, 0, 0]), exclusive=np.array([True, False, False]))
    with pytest.raises(MonoscopeError, match="more often than their parent"):
        World(eye, np.array([0.0, 0.2, 0.1]), parents=np.array([-1, 0, -1]))
    with pytest.raises(MonoscopeError, match="before its parent"):
        World(eye, np.array([0.1, 0.2, 0.1]), parents=np.array([1, -1, -1]))
    with pytest.raises(MonoscopeError, match="average"):
        World(eye, np.full(3, 0.2), topics=np.full((2, 3), 0.3))
    with pytest.raises(MonoscopeError, match="trees hold"):
        Settings(10, 4, 0.5, 0.4, 0.1, n_trees=3, branching=3, depth=1)
    with pytest.raises(MonoscopeError, match="did you mean 'small'"):
        preset("smal")
