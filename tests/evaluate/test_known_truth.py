"""Measures against the truth: brute force, closed forms, and worlds in which the fault was planted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import plugins
from monoscope.dictionary import batch_topk
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.evaluate import known_truth
from monoscope.evaluate.truth import _case, f1, hedging
from monoscope.types import Code
from monoscope.worlds import World, preset

N = 16 * 1024


def dictionary(
    encoder: torch.Tensor, decoder: torch.Tensor, bias: torch.Tensor | None = None
) -> batch_topk.Architecture:
    """Every positive score is active."""
    made = batch_topk.Architecture(encoder.shape[1], len(encoder), decoder.shape[1], k=1).requires_grad_(False)
    made.w_enc.copy_(encoder)
    made.w_dec.copy_(decoder)
    if bias is not None:
        made.shift(bias, bias)
    made.threshold.fill_(1e-4)
    return made


def family(**options) -> World:
    """A parent with two children and a feature apart, all orthogonal, all of value 1 wherever they fire."""
    frequencies, parents = np.array([0.4, 0.1, 0.2, 0.3]), np.array([-1, 0, 0, -1])
    return World(torch.eye(6)[:4], frequencies, parents=parents, exclusive=np.ones(4, bool), **options)


def judged(world: World, made, n: int = N):
    return known_truth.judge(world, *world.rows(n), made)


def values(measured) -> dict[str, float]:
    return {name: estimate.value for name, estimate in measured.items()}


def test_the_truth_itself_scores_full_marks():
    world = family(magnitude=2.0, spread=0.3, bias=torch.full((6,), 0.5))
    found, controls = judged(world, dictionary(world.directions, 3 * world.directions, world.bias))
    known = values(found)
    for name in ("mcc", "recovered", "recovered_by_frequency", "f1", "f1_of_learned", "uniqueness"):
        assert known[name] == pytest.approx(1, abs=1e-3), name  # a threshold from one half is not quite the other's
    assert known["absorption"] == 0 and known["hedging"] == pytest.approx(0, abs=1e-6)
    assert known["l0_mismatch"] == pytest.approx(0, abs=1e-3)
    assert values(controls["shuffled"])["mcc"] < 0.8 and values(controls["shuffled"])["f1"] < 0.8
    assert values(controls["random_directions"])["recovered"] < 1
    assert known["fvu"] > 1  # the decoder writes thrice too much


def test_every_measure_has_an_interval_and_its_controls():
    world = preset("small")
    found, controls = judged(world, dictionary(world.directions, world.directions), 2048)
    assert set(controls) == {"random_directions", "shuffled"}
    assert set(controls["random_directions"]) == set(found) > set(controls["shuffled"])
    for name in plugins.names(known_truth.PACKAGE):
        assert isinstance(plugins.load(known_truth.PACKAGE, name).MATCHED, bool)
    for estimate in found.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_a_narrow_dictionary_is_matched_one_to_one():
    world = World(torch.eye(5), np.array([0.5, 0.1, 0.1, 0.1, 0.1]))
    known = values(judged(world, dictionary(torch.eye(5)[:2], torch.eye(5)[:2]))[0])
    assert known["mcc"] == 1  # over the two pairs there are
    assert known["recovered"] == pytest.approx(2 / 5) and known["recovered_by_frequency"] == pytest.approx(0.6 / 0.9)
    assert known["f1"] == pytest.approx(2 / 5) and known["f1_of_learned"] == 1


def test_cosines_below_nine_tenths_are_not_recovered():
    world = World(torch.eye(4)[:2], np.array([0.3, 0.1]))
    angled = torch.tensor([[0.91, 0, (1 - 0.91**2) ** 0.5, 0], [0, -0.89, 0, (1 - 0.89**2) ** 0.5]])
    known = values(judged(world, dictionary(torch.eye(4)[:2], angled))[0])
    assert known["mcc"] == pytest.approx(0.9) and known["recovered"] == 0.5
    assert known["recovered_by_frequency"] == pytest.approx(0.75)


def test_copies_are_not_unique_and_silent_features_do_not_count():
    world = World(torch.eye(3), np.full(3, 0.3))
    rows = torch.eye(3)[[0, 0, 1, 2]]
    assert values(judged(world, dictionary(rows, rows))[0])["uniqueness"] == pytest.approx(0.5)
    silent = dictionary(rows, rows)
    silent.b_enc[1] = -100
    assert values(judged(world, silent)[0])["uniqueness"] == 1


def test_extra_activity_is_an_l0_mismatch():
    world = World(torch.eye(4)[:2], np.array([0.4, 0.6]))
    known = values(judged(world, dictionary(torch.eye(4)[[0, 1, 1]], torch.eye(4)[[0, 1, 2]]))[0])
    assert known["l0"] == pytest.approx(1.6, abs=0.03) and known["true_l0"] == pytest.approx(1.0, abs=0.03)
    assert known["l0_mismatch"] == pytest.approx(known["l0"] / known["true_l0"] - 1)


@pytest.mark.parametrize("held, absorbed", [(0.3, False), (0.5, True), (1.0, True)])
def test_planted_absorption_is_measured_exactly(held, absorbed):
    """The parent's feature is silent where child 1 fires, whose feature writes ``held`` of it; child 2 is clean."""
    world = family()
    p, a, b, other = world.directions
    made = dictionary(torch.stack([p - a, a, b, other]), torch.stack([p, a + held * p, b, other]))
    truth = world.rows(N)[1].to_dense()
    share = float((truth[:, 1] > 0).sum() / (truth[:, 0] > 0).sum()) if absorbed else 0.0
    assert values(judged(world, made)[0])["absorption"] == pytest.approx(share)


@pytest.mark.parametrize("length", [0.25, 4.0])
def test_absorption_does_not_depend_on_how_a_world_is_written(length):
    """Directions of another length with values to match make the same rows."""
    p, a, b, other = torch.eye(6)[:4]
    made = dictionary(torch.stack([p - a, a, b, other]), torch.stack([p, a + 0.5 * p, b, other]))
    unit, other_way = family(), family(magnitude=1 / length)
    other_way.directions *= length
    assert torch.equal(unit.rows(2048)[0], other_way.rows(2048)[0])
    assert judged(other_way, made, 2048)[0]["absorption"] == judged(unit, made, 2048)[0]["absorption"]
    assert judged(unit, made, 2048)[0]["absorption"].value > 0.2


def test_what_rows_and_detections_say_equals_numpy():
    """Thresholds of one half are tried on the other; silent features detect nothing; variance is about the mean."""
    world = family(magnitude=1.0, spread=0.3, noise=0.4, bias=torch.full((6,), 2.0))
    decoder = torch.cat([world.directions, torch.eye(6)[5:]])  # the last one stays silent
    made = dictionary(decoder * torch.tensor([1.0, 1, 1, 1, 0])[:, None], decoder, world.bias)
    x, truth = world.rows(600)
    found = values(known_truth.judge(world, x, truth, made)[0])
    active, fires = made.encode(x).to_dense()[:, :4].numpy(), truth.to_dense().numpy() != 0

    def f1_of(said, holds):
        return 2 * (said & holds).sum() / (said.sum() + holds.sum())

    scores = []
    for values_of, holds in zip(active.T, fires.T, strict=True):
        at = max(
            np.unique(values_of[:300][values_of[:300] > 0]), key=lambda t: f1_of(values_of[:300] >= t, holds[:300])
        )
        scores.append(f1_of(values_of[300:] >= at, holds[300:]))
    assert found["f1"] == pytest.approx(np.mean(scores))
    assert found["f1_of_learned"] == pytest.approx(np.mean([f1_of(a > 0, t) for a, t in zip(active.T, fires.T)]))
    error, about = (x - made(x)).square().sum(), (x - x.mean(0)).square().sum()
    assert found["fvu"] == pytest.approx(float(error / about), rel=1e-5)


def test_what_reconstructs_no_rows_of_the_world_is_refused():
    world = family()
    for d_in, d_out in ((6, 5), (5, 5)):
        made = batch_topk.Architecture(d_in, 4, d_out, k=1)
        with pytest.raises(MonoscopeError, match=f"from {d_in} to {d_out} numbers"):
            known_truth.judge(world, *world.rows(16), made)


def test_a_silent_parent_without_a_child_that_speaks_for_it_is_not_absorbed():
    world = family()
    p, a, b, other = world.directions
    made = dictionary(torch.stack([p - a, a - 10 * b - 10 * p, b, other]), torch.stack([p, a + p, b, other]))
    assert values(judged(world, made)[0])["absorption"] == 0  # child 1's own feature is silent too


def test_a_grandchild_may_absorb():
    world = World(torch.eye(3), np.array([0.5, 0.4, 0.3]), parents=np.array([-1, 0, 1]))
    p, c, g = world.directions
    made = dictionary(torch.stack([p - g, c, g]), torch.stack([p, c, 2 * g + p]))
    truth = world.rows(N)[1].to_dense()
    # of the firings of p and of c, which is a parent too, those of p with g are absorbed
    share = float((truth[:, 2] > 0).sum() / (truth[:, :2] > 0).sum())
    assert values(judged(world, made)[0])["absorption"] == pytest.approx(share)


def test_planted_hedging_is_measured_exactly():
    """The parent's companion is child 2, either child's is the other (a negative correlation); 3 stands alone."""
    world = family()
    p, a, b, other = world.directions
    made = dictionary(world.directions, torch.stack([p + 0.3 * b, a - 0.2 * b, b + 0.05 * p, other]))
    x, truth = world.rows(N)
    companions, signs = hedging.companion(truth, world.ancestors())
    assert companions[:3].tolist() == [2, 2, 1] and signs[:3].tolist() == [1, -1, -1]
    measured = values(known_truth.judge(world, x, truth, made)[0])["hedging"]
    assert measured == pytest.approx((0.3 + 0.2 + 0 + 0) / 4, abs=1e-6)


@pytest.mark.parametrize("name", ["topk", "matching_pursuit", "nonnegative_pursuit"])
def test_random_directions_stand_beside_the_dictionary_s_own_code(name):
    """Also where directions alone say what is active: the control differs in its directions and in nothing else."""
    world = preset("small")
    made = architecture(name)(64, 96, k=3).requires_grad_(False)
    made.w_dec.copy_(world.directions[:96])
    if made.own_encoder:
        made.w_enc.copy_(world.directions[:96])
    found, controls = judged(world, made, 2000)
    for measure in ("l0", "true_l0", "l0_mismatch"):
        assert controls["random_directions"][measure] == found[measure]
    assert controls["random_directions"]["mcc"].value < 0.6 < found["mcc"].value


def test_companions_are_those_of_numpys_correlation():
    world = preset("small")
    _, truth = world.rows(4096)
    companions, signs = hedging.companion(truth, world.ancestors())
    fires = truth.to_dense().numpy() > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        phi = np.nan_to_num(np.corrcoef(fires.T))
    np.fill_diagonal(phi, 0)
    for i, chain in enumerate(world.ancestors()):
        phi[i, chain] = 0
    live = fires.any(0)
    assert np.allclose(np.abs(phi[live, companions[live]]), np.abs(phi[live]).max(1))
    assert (signs[live] == np.sign(phi[live, companions[live]])).all() and (companions[~live] == -1).all()


def test_mixture_is_least_squares():
    world = preset("small")
    generator = torch.Generator().manual_seed(0)
    x, truth = world.rows(64)
    decoder = torch.randn(512, 64, generator=generator)
    case = _case.case(world, x, truth, dictionary(world.directions, decoder))
    features, others = np.array([3, 99, 500]), np.array([7, 4, 1])
    own, other = _case.mixture(case, features, others)
    for i, (f, o) in enumerate(zip(features, others, strict=True)):
        basis = world.directions[[f, o]].T.numpy()
        match = case.directions[case.matching.learned[f]].numpy()
        assert np.allclose(np.linalg.lstsq(basis, match, rcond=None)[0], [own[i], other[i]], atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_thresholds_and_f1_equal_brute_force(seed, n_pairs):
    rng = np.random.default_rng(seed)
    active = torch.from_numpy(rng.integers(0, 4, (30, n_pairs + 1)) / 2.0)
    fires = torch.from_numpy((rng.random((30, n_pairs + 2)) < 0.3).astype(float))
    learned, true = rng.permutation(n_pairs + 1)[:n_pairs], rng.integers(0, n_pairs + 2, n_pairs)
    parts = f1.detections(Code.from_dense(active), Code.from_dense(fires), learned, true)
    thresholds = f1.best_thresholds(*parts)
    scores = f1.f1_above(thresholds, *parts)
    for pair in range(n_pairs):
        a, t = active[:, learned[pair]].numpy(), fires[:, true[pair]].numpy() > 0

        def score(cut, a=a, t=t):
            said = (a >= cut) & (a > 0)
            return 2 * (said & t).sum() / max(1, said.sum() + t.sum())

        assert scores[pair] == pytest.approx(max(score(cut) for cut in (0.5, 1.0, 1.5)))
        assert scores[pair] == pytest.approx(score(thresholds[pair]))
