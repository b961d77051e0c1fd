"""Options that go with any method that has an encoder: laws over every such architecture in the folder."""

from __future__ import annotations

import math

import pytest
import torch
from planted import D, data_of, planted
from torch.nn.functional import normalize

from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.ops import leftover
from monoscope.ops.transpose import transpose
from monoscope.train import dense, rows
from monoscope.train.descent import Descent
from monoscope.train.fit import Recipe, fit, known_options
from monoscope.train.loop import normalised, train
from monoscope.train.median import geometric_median
from monoscope.train.objective import objective
from monoscope.train.penalised import Penalised
from monoscope.train.trainee import Normalising, Units
from monoscope.types import Code

METHODS = [n for n in architectures() if issubclass(objective(architecture(n).objective), Descent)]
PENALISED = [n for n in METHODS if issubclass(objective(architecture(n).objective), Penalised)]
COMPETE = {"topk", "batch_topk", "matryoshka", "hierarchical_topk", "jumprelu", "gated"}  # to begin with
F = 32


def ready(name: str, data=None, **options):
    """A trainee after a few steps on planted rows at an L0 of 4, and the rows as its objective reads them."""
    data = data_of(2000) if data is None else data
    known = known_options(name, {"l0": 4.0, **options})
    settings = {"k": 4} if "k" in architecture(name).settings else {}
    trainee = Recipe.of(name, F, **settings, **known).trainee(data)
    x, y = data.sample
    for step in range(4):
        trainee.step(x[:500], y[:500], 500 * step, 2000)
    return trainee, x[:500]


def test_there_are_such_methods():
    assert {"topk", "batch_topk", "matryoshka", "hierarchical_topk", "l1", "gated", "p_anneal", "jumprelu"} <= {
        *METHODS
    }


@pytest.mark.parametrize("name", METHODS)
def test_encoder_rows_begin_along_the_decoders_or_not(name):
    data = data_of(2000)
    cosines = {}
    for tied in (True, False):
        made = Recipe.of(name, F, tied=tied).trainee(data).dictionary
        cosines[tied] = (normalize(made.w_enc) * normalize(made.w_dec)).sum(1).detach()
    torch.testing.assert_close(cosines[True], torch.ones(F))
    assert cosines[False].abs().max() < 0.9 and cosines[False].abs().mean() < 3 / math.sqrt(D)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("told", "ratio"), [(0.25, 0.25), ("d_in/n_features", D / F)])
def test_rows_begin_as_long_as_told(name, told, ratio):
    made = (
        Recipe.of(name, F, decoder_norm="free", decoder_scale=0.1, encoder_scale=told).trainee(data_of(2000)).dictionary
    )
    torch.testing.assert_close(made.w_dec.norm(dim=1), torch.full((F,), 0.1))
    torch.testing.assert_close(made.w_enc.norm(dim=1), torch.full((F,), 0.1 * ratio))


@pytest.mark.parametrize("name", METHODS)
def test_rows_of_unit_norm_begin_no_shorter(name):
    with pytest.raises(MonoscopeError, match=r"decoder_scale is 0\.1 where decoder rows are held to unit norm"):
        Recipe.of(name, F, decoder_norm="unit", decoder_scale=0.1).trainee(data_of(2000))


@pytest.mark.parametrize("name", METHODS)
def test_biases_begin_around_the_geometric_median(name):
    x = planted(2000)[0]
    x[:200] += 50  # which moves the mean, and hardly the median
    data = rows.from_arrays(x, None, 500, None, 0, hold_back=False)
    one = Recipe.of(name, F, decoder_bias="median").trainee(data).dictionary
    middle = (geometric_median(x) - data.units.mean_out) / data.units.scale_out
    assert middle.norm() > 0.1
    torch.testing.assert_close(one.b_dec, middle, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one.w_enc @ middle + one.b_enc, torch.zeros(F), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", PENALISED)
def test_as_many_features_are_active_at_first_as_told(name):
    data = data_of(4000)
    x = (data.sample[0] - data.units.mean_in) / data.units.scale_in
    for told, expected in ((3.0, 3.0), (10_000, F / 2)):
        made = Recipe.of(name, F, first_active=told, encoder_scale=1.0, decoder_norm="free").trainee(data).dictionary
        assert len(made.encode(x).indices) / len(x) == pytest.approx(expected, rel=0.02)


def test_who_begins_as_topk_is_not_told_how_many_are_active_at_first():
    with pytest.raises(MonoscopeError, match=r"first_active, but it begins as TopK"):
        Recipe.of("gated", F, l0=4.0, first_active=8).trainee(data_of(2000))


@pytest.mark.parametrize("name", METHODS)
def test_auxk_uses_as_many_features_a_row_as_told(name):
    trainee, x = ready(name, auxk_features=3, dead_after=1, precision="float32")
    d, goal = trainee.dictionary, trainee.objective
    goal.silence.tokens[: F // 2] = 10_000
    goal.silence.tokens[F // 2 :] = 0
    left = x - d(x)
    dead = d.w_enc[: F // 2], d.b_enc[: F // 2], d.w_dec[: F // 2]
    torch.testing.assert_close(goal.unexplained(d, x, left), leftover.reference(x, left, dead, 3))
    goal.options["auxk_features"] = None
    torch.testing.assert_close(goal.unexplained(d, x, left), leftover.reference(x, left, dead, D // 2))


@pytest.mark.parametrize("name", METHODS)
def test_decoder_rows_are_held_to_unit_norm_or_free(name):
    ones = torch.ones(F)
    unit, x = ready(name, decoder_norm="unit")
    torch.testing.assert_close(unit.dictionary.w_dec.norm(dim=1), ones)
    free, _ = ready(name, decoder_norm="free")
    assert (free.dictionary.w_dec.norm(dim=1) - 1).abs().max() > 0.01
    if name in PENALISED:  # activations were penalised times these norms, and end in units of them
        free.objective.options["l0"] = None  # no calibration
        d = free.dictionary.requires_grad_(False)
        free.objective.finish(d, x)
        torch.testing.assert_close(d.w_dec.norm(dim=1), ones)


@pytest.mark.parametrize("name", PENALISED)
def test_giving_free_rows_unit_length_leaves_the_reconstruction(name):
    trainee, x = ready(name, decoder_norm="free", topk_until=0.0)
    d = trainee.dictionary.requires_grad_(False)
    before = d(x)
    trainee.objective.fold(d)
    torch.testing.assert_close(d.w_dec.norm(dim=1), torch.ones(F))
    torch.testing.assert_close(d(x), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["l1", "gated", "p_anneal"])
def test_a_penalty_is_not_escaped_by_long_directions(name):
    """A feature's activation divided by two and its direction doubled: the penalty stays, where rows may be free."""
    trainee, x = ready(name, decoder_norm="free", l0=None)
    d, goal = trainee.dictionary, trainee.objective
    terms = goal.losses(d, x, x, 1.0)
    (term,) = {"l1", "gate_l1", "lp"} & terms.keys()
    with torch.no_grad():
        for part, factor in ((d.w_enc, 0.5), (d.b_enc, 0.5), (d.w_dec, 2.0)):
            part.mul_(factor)
    assert terms[term] > 0
    torch.testing.assert_close(goal.losses(d, x, x, 1.0)[term], terms[term], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_silent_features_begin_again_as_inputs(name):
    """Bricken et al. 2023, for any method: once, when their time has come, with nothing of what they were."""
    data = data_of(4000)
    recipe = Recipe.of(name, F, **known_options(name, {"l0": 4.0, "resample_at": (0.5,), "sample": 1500, "auxk": 0.0}))
    trainee = recipe.trainee(data)
    d, again = trainee.dictionary, trainee.objective.resampling
    x, y = data.sample
    dead = [2, 9]
    for seen in range(0, 1500, 500):
        with torch.no_grad():
            d.b_enc[dead] = -100.0
        trainee.step(x[seen : seen + 500], y[seen : seen + 500], seen, 4000)
    assert int(again.done) == 0 and len(again.rows)
    rows_seen, old = x[:2000], d.w_dec[dead].detach().clone()
    marked = []
    real = again.resample
    again.resample = lambda d, moments, dead, share: marked.append(~dead) or real(d, moments, dead, share)
    trainee.step(x[1500:2000], y[1500:2000], 1500, 4000)
    (alive,) = marked
    assert int(again.done) == 1 and len(again.rows) == 0
    assert d.b_enc[dead].abs().max() == 0
    norms = d.w_enc.detach().norm(dim=1)
    share = float(norms[dead].mean() / norms[alive].mean())
    assert share == pytest.approx(1.0 if name in COMPETE else 0.2, rel=1e-4)
    towards = normalize(rows_seen - d.b_dec.detach()) @ d.w_dec[dead].detach().T
    torch.testing.assert_close(towards.max(0).values, torch.ones(2))
    assert ((d.w_dec[dead] * old).sum(1) < 0.999).all()
    of_features = [n for n, p in d.named_parameters() if n != "b_dec" and len(p) == F]
    assert {"w_enc", "w_dec", "b_enc"} <= {*of_features}
    for moment in (m for n in of_features for m in trainee.moments[n]):
        assert moment[dead].abs().max() == 0
    trainee.step(x[2000:2500], y[2000:2500], 2000, 4000)
    assert int(again.done) == 1


def test_thresholds_and_magnitudes_begin_again_too():
    for name, part in (("jumprelu", "log_threshold"), ("gated", "b_mag"), ("gated", "r_mag")):
        trainee, _ = ready(name, topk_until=0.0)
        numbers = getattr(trainee.dictionary, part).data
        numbers.copy_(torch.linspace(-1, 1, F))
        trainee.objective.reborn(trainee.dictionary, trainee, torch.tensor([0, F - 1]))
        wanted = numbers[1:-1].mean() if name == "jumprelu" else torch.zeros(())
        torch.testing.assert_close(numbers[[0, F - 1]], wanted.expand(2))
        assert all(moment[[0, F - 1]].abs().max() == 0 for moment in trainee.moments[part])


def closed_form(d, scores: torch.Tensor, active: torch.Tensor, above: float) -> torch.Tensor:
    share = active.float().mean(0)
    weight = (share / above - 1).clamp_min(0).detach()
    return (weight * (scores * active).sum(0) * d.w_dec.norm(dim=1)).sum()


def test_the_penalty_on_dense_features_is_as_defined():
    generator = torch.Generator().manual_seed(0)
    d = architecture("topk")(D, F, k=4)
    for parameter in d.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    x = torch.randn(50, D, generator=generator)
    scores = x @ d.w_enc.T + d.b_enc
    active = (scores > 0) & (torch.rand(scores.shape, generator=generator) < torch.linspace(0.1, 0.9, F))
    code = Code.from_dense(torch.where(active, scores, 0.0).detach())
    found = dense.of_selection(d, x, code, transpose(code), 0.2)
    wanted = closed_form(d, scores, active, 0.2)
    torch.testing.assert_close(found, wanted)
    parameters = [d.w_enc, d.b_enc, d.w_dec]
    for a, b in zip(*(torch.autograd.grad(term, parameters) for term in (found, wanted)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert dense.of_selection(d, x, code, transpose(code), 1.0) == 0


@pytest.mark.parametrize("crowded", [-1.0, 2.0], ids=["densely", "sparsely"])
@pytest.mark.parametrize("name", PENALISED)
def test_every_penalised_method_feels_it(name, crowded):
    """Beside its own terms, which stay what they are."""
    trainee, x = ready(name, l0=None, precision="float32")
    d, goal = trainee.dictionary, trainee.objective
    goal.crowded = crowded
    without = goal.losses(d, x, x, 1.0)
    goal.options |= {"dense_penalty": 0.3, "dense_above": 0.2}
    found = goal.losses(d, x, x, 1.0)
    assert set(found) == {*without, "dense"}
    for term in without:
        torch.testing.assert_close(found[term], without[term], msg=term)
    scores, active = x @ d.w_enc.T + d.b_enc, d.encode(x).to_dense() > 0
    sums = (scores.relu() if name == "gated" else scores * active).sum(0)
    weight = (active.float().mean(0) / 0.2 - 1).clamp_min(0)
    assert (weight > 0).sum() >= 5
    wanted = 0.3 * (weight * sums * d.w_dec.norm(dim=1)).sum() / x.numel()
    torch.testing.assert_close(found["dense"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_dense_features_become_rarer(name):
    """In a world with a direction that is there in most rows, at equal L0, and nothing else is given up."""
    x, directions = planted(20_000)
    generator = torch.Generator().manual_seed(5)
    common = (torch.rand(len(x), 1, generator=generator) < 0.7) * (0.5 + torch.rand(len(x), 1, generator=generator))
    x = x + common * directions[:1]
    most = {}
    for weight in (0.0, 5.0):
        told = known_options(name, {"dense_penalty": weight, "dense_above": 0.1})
        made = fit(x, 64, name, 4, 40_000, 500, l0=4.0, show_progress=False, **told)
        code = made.encode(x[:4000])
        most[weight] = float(transpose(code).offsets.diff().max()) / 4000
        assert 3.0 < len(code.indices) / 4000 < 5.0
    assert most[0.0] > 0.2 and most[5.0] < 0.6 * most[0.0]


@pytest.mark.parametrize(("name", "target"), [("batch_topk", False), ("batch_topk", True), ("jumprelu", False)])
def test_what_is_done_to_rows_is_folded_into_the_dictionary(name, target):
    """Whatever was taken off and divided by while it was trained, it reads and writes rows as they are."""
    x = 3 * planted(20_000)[0] + torch.linspace(-1, 1, D)
    y = 0.5 * x + 1 if target else x
    for told in ({}, {"centre": False}, {"scale": False}, {"centre": False, "scale": False}, {"norm": "one"}):
        made = fit(x, 64, name, 4, 40_000, 500, l0=4.0, target=y if target else None, show_progress=False, **told)
        left = y - made(x)
        most = 0.15 if told.get("centre", True) else 0.7  # why it is the default
        assert float(left.square().sum() / (y - y.mean(0)).square().sum()) < most, told
        torch.testing.assert_close(made(x[:7]), made.decode(made.encode(x[:7])))
        torch.testing.assert_close(made.w_dec.norm(dim=1), torch.ones(64))


def test_rows_are_brought_to_the_norm_that_is_asked_for():
    x, y = planted(2000)[0], planted(2000)[0][:, :10] * 7
    units = Units.of(x, y)
    for norm, wanted in (("width", (D, 10)), ("one", (1, 1))):
        found = normalised(x, y, units.only(Normalising(norm=norm)))
        assert [float(part.square().sum(1).mean()) for part in found] == pytest.approx(wanted)
    with pytest.raises(MonoscopeError, match="norm of what is done to rows is 'two'"):
        Recipe.of("topk", F, norm="two")


def test_trainings_of_one_pass_may_differ_in_what_is_done_to_rows():
    """Each is, to the bit, what it is alone."""
    x = planted(4000)[0]

    def trained(*asked: dict[str, bool]):
        recipes = {str(told): Recipe.of("batch_topk", F, k=4, **told) for told in asked}
        data = rows.from_arrays(x, None, 500, 8000, 0, hold_back=True)
        return train(data, {name: recipe.trainee(data) for name, recipe in recipes.items()})

    asked = [{}, {"centre": False}, {"scale": False}, {"norm": "one"}]
    together = trained(*asked)
    assert list(together) == [str(told) for told in asked]
    assert not torch.equal(together["{}"].w_dec, together[str(asked[1])].w_dec)
    for told in asked:
        (alone,) = trained(told).values()
        for a, b in zip(alone.state_dict().values(), together[str(told)].state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_what_is_off_changes_nothing():
    data = rows.from_arrays(planted(2000)[0], None, 500, None, 0, hold_back=False)
    plain = Recipe.of("topk", F).trainee(data)
    off = {"dense_penalty": 0.0, "resample_at": (), "tied": True, "decoder_norm": "unit", "decoder_scale": 1.0}
    off |= {"clip": 1.0, "loss_per": "number", "epsilon": 1e-8, "decoder_bias": "zero", "auxk_features": D // 2}
    told = Recipe.of("topk", F, encoder_scale=0.5, **off).trainee(data)
    x, y = data.sample
    for step in range(3):
        a, b = (one.step(x[:500], y[:500], 500 * step, 2000) for one in (plain, told))
        assert a == b
    assert all(torch.equal(a, b) for a, b in zip(plain.dictionary.parameters(), told.dictionary.parameters()))
