"""Penalty methods: each loss against its closed form, kernels against their definition, and the wanted L0 reached."""

from __future__ import annotations

import math

import pytest
import torch
from planted import planted
from torch.nn.functional import normalize

from monoscope import plugins
from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.train import begun, calibrate, rows
from monoscope.train.begun import BegunAsTopK
from monoscope.train.calibrate import cut
from monoscope.train.control import Control
from monoscope.train.fit import Recipe, fit
from monoscope.train.loop import train
from monoscope.train.objective import PACKAGE, objective
from monoscope.train.objectives import jumprelu, p_anneal
from monoscope.train.penalised import Penalised, fold_norms

D, F, N = 6, 10, 20
PENALISED = [n for n in architectures() if issubclass(objective(architecture(n).objective), Penalised)]
BEGUN = [n for n in PENALISED if issubclass(objective(architecture(n).objective), BegunAsTopK)]


def made(name: str, d_out: int = D, **options):
    """A random dictionary with its objective, and rows; the decoder's norms differ."""
    if name != "l1_2023":
        options = {"penalty_warmup": 0.0, "auxk": 0.0, **options}
    generator = torch.Generator().manual_seed(3)
    dictionary = architecture(name)(D, F, d_out)
    for parameter in dictionary.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 2
    goal = objective(name)(dictionary, 1000, 0, precision="float32", **options)
    x, y = torch.randn(N, D, generator=generator), torch.randn(N, d_out, generator=generator)
    return dictionary, goal, x, y


def gradients(dictionary, loss) -> dict[str, torch.Tensor]:
    names, parameters = zip(*dictionary.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for n, p, g in zip(names, parameters, found, strict=True)}


def agree(dictionary, terms, wanted) -> None:
    """Terms and the gradients of their sum equal those wanted."""
    assert terms.keys() == wanted.keys()
    for name in terms:
        torch.testing.assert_close(terms[name], wanted[name], rtol=1e-4, atol=1e-5, msg=name)
    found, right = gradients(dictionary, sum(terms.values())), gradients(dictionary, sum(wanted.values()))
    for name in found:
        torch.testing.assert_close(found[name], right[name], rtol=1e-3, atol=1e-5, msg=name)


def dense(d, x):
    return x @ d.w_enc.T + d.b_enc


WAYS = pytest.mark.parametrize("crowded", [-1.0, 2.0], ids=["densely", "sparsely"])


@WAYS
@pytest.mark.parametrize("d_out", [D, 4])
def test_l1_is_the_squared_error_and_activations_times_decoder_norms(d_out, crowded):
    d, goal, x, y = made("l1", d_out, penalty=0.7)
    goal.crowded = crowded
    f = dense(d, x).relu()
    wanted = {
        "mse": (y - f @ d.w_dec - d.b_dec).square().mean(),
        "l1": 0.7 * (f * d.w_dec.norm(dim=1)).sum() / y.numel(),
    }
    agree(d, goal.losses(d, x, y, 1.0), wanted)
    assert goal.l0 == float((f > 0).sum()) / N


@WAYS
def test_l1_2023_is_as_in_its_paper(crowded):
    """The error averaged over vector elements, activations summed over features; the decoder's bias is subtracted."""
    d, goal, x, y = made("l1_2023", penalty=0.7)
    goal.crowded = crowded
    f = ((x - d.b_dec) @ d.w_enc.T + d.b_enc).relu()
    wanted = {"mse": (y - f @ d.w_dec - d.b_dec).square().mean(), "l1": 0.7 * f.sum(1).mean()}
    agree(d, goal.losses(d, x, y, 1.0), wanted)
    torch.testing.assert_close(goal.resampling.errors, (y - f @ d.w_dec - d.b_dec).detach().square().sum(1))
    assert goal.l0 == float((f > 0).sum()) / N


@WAYS
def test_gated_is_as_in_its_paper(crowded):
    d, goal, x, y = made("gated", penalty=0.7)
    goal.crowded = crowded
    gate = dense(d, x)
    f = (gate > 0) * ((x @ d.w_enc.T) * d.r_mag.exp() + d.b_mag).relu()
    frozen = gate.relu() @ d.w_dec.detach() + d.b_dec.detach()
    wanted = {
        "mse": (y - f @ d.w_dec - d.b_dec).square().mean(),
        "gate_l1": 0.7 * gate.relu().sum() / y.numel(),
        "gate_mse": (y - frozen).square().mean(),
    }
    agree(d, goal.losses(d, x, y, 1.0), wanted)
    torch.testing.assert_close(d.encode(x).to_dense(), f.detach())


@WAYS
def test_p_anneal_penalises_powers_with_a_finite_gradient(crowded):
    d, goal, x, y = made("p_anneal", penalty=0.7, anneal_steps=4)
    goal.crowded = crowded
    goal.at.fill_(3)
    p = 1 - 0.8 * 3 / 4
    f = dense(d, x).relu()
    active = f[f > 0]
    wanted = {
        "mse": (y - f @ d.w_dec - d.b_dec).square().mean(),
        "lp": 0.7 * ((active + 1e-3) ** p - 1e-3**p).sum() / y.numel(),
    }
    agree(d, goal.losses(d, x, y, 1.0), wanted)
    tiny = torch.tensor([0.0, 1e-30], requires_grad=True)
    p_anneal.power(tiny, 0.2).sum().backward()
    assert bool(torch.isfinite(tiny.grad).all())


def test_p_anneal_corrects_its_coefficient_by_the_ratio_of_running_sums():
    d, goal, x, y = made("p_anneal", penalty=0.7, anneal_steps=4, window=2, anneal_from=0.0, anneal_to=1.0)
    batches = [x, x * 2, x * 3]
    for batch in batches:
        goal.losses(d, batch, y, 0.2)
    goal.after_step(d, None, x, y, 249)
    assert int(goal.at) == 0
    goal.after_step(d, None, x, y, 250)
    old = new = 0.0
    for batch in batches[1:]:  # the window
        f = dense(d, batch).relu().detach().double()
        old, new = old + float(f.sum()), new + float(((f + 1e-3) ** 0.8 - 1e-3**0.8).sum())
    assert int(goal.at) == 1
    assert math.exp(float(goal.control.log_weight)) == pytest.approx(0.7 * old / new, rel=1e-4)
    assert (goal.p(0), goal.p(1), goal.p(4)) == (1.0, pytest.approx(0.8), pytest.approx(0.2))


def test_the_kernels_are_what_their_definition_says():
    """Towards the threshold: −θ/ε (jump) and −1/ε (step) within ε/2 of it; towards the score: only the jump's own."""
    s = torch.tensor([0.2, 0.4, 0.6, 0.76, 1.0], requires_grad=True)
    threshold = torch.full((5,), 0.5, requires_grad=True)
    near = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0])
    upstream = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    out = jumprelu.jump(s, threshold, 0.5)
    assert out.tolist() == pytest.approx([0, 0, 0.6, 0.76, 1.0])
    out.backward(upstream)
    torch.testing.assert_close(s.grad, upstream * torch.tensor([0.0, 0, 1, 1, 1]))
    torch.testing.assert_close(threshold.grad, -0.5 / 0.5 * near * upstream)
    s.grad = threshold.grad = None
    out = jumprelu.step(s, threshold, 0.5)
    assert out.tolist() == [0, 0, 1, 1, 1]
    out.backward(upstream)
    assert s.grad is None
    torch.testing.assert_close(threshold.grad, -1 / 0.5 * near * upstream)


@WAYS
@pytest.mark.parametrize("form", jumprelu.FORMS)
def test_jumprelu_is_as_in_its_papers(form, crowded):
    d, goal, x, y = made("jumprelu", form=form, penalty=0.7, bandwidth=0.8, preact=0.3, l0=3.0, topk_until=0)
    d.log_threshold.data -= 1
    goal.crowded = crowded
    goal.control.warmup, goal.control.log_weight = 0.0, torch.tensor(math.log(0.7))
    goal.control.weigh = lambda l0, progress: 0.7
    goal.control.goal = 3.0
    s, threshold, norms = dense(d, x), d.threshold.expand(N, F), d.w_dec.norm(dim=1)
    f = jumprelu.jump(s, threshold, 0.8)
    fired = jumprelu.step(s, threshold, 0.8).sum()
    wanted = {"mse": (y - f @ d.w_dec - d.b_dec).square().mean()}
    if form == "step":
        wanted["l0_step"] = 0.7 * fired / y.numel()
    elif form == "quadratic":
        wanted["l0_quadratic"] = 0.7 * (fired / N / 3 - 1).square()
    else:
        wanted["tanh"] = 0.7 * torch.tanh(4 * f * norms).sum() / y.numel()
        wanted["preact"] = 0.3 * ((threshold - s).relu() * norms).sum() / y.numel()
    agree(d, goal.losses(d, x, y, 1.0), wanted)
    torch.testing.assert_close(d.encode(x).to_dense(), f.detach())


@pytest.mark.parametrize("name", BEGUN)
def test_what_begins_as_topk_takes_over_what_that_was(name):
    d, goal, x, y = made(name, l0=3.0, auxk=0.1)
    if name == "gated":
        d.r_mag.data.zero_()
        d.b_mag.data.copy_(d.b_enc.data)
    scores = dense(d, x)
    code = torch.where(scores >= scores.topk(3).values[:, -1:], scores, 0).relu()
    wanted = {"mse": (y - code @ d.w_dec - d.b_dec).square().mean(), "auxk": torch.zeros(())}
    agree(d, goal.losses(d, x, y, 0.49), wanted)
    goal.losses(d, x, y, 0.5)
    cut = scores.detach().flatten().topk(3 * N + 1).values[-1]
    told = (scores.detach() - cut).abs() > 1e-5  # the score that is the cut may be rounded to either side of it
    found, right = d.encode(x).to_dense(), torch.where(scores > cut, scores, 0).detach()
    assert int(told.sum()) == N * F - 1
    torch.testing.assert_close(found[told], right[told])
    assert goal.l0 == pytest.approx(3, abs=1 / N)
    before = {n: t.clone() for n, t in d.state_dict().items()}
    assert goal.losses(d, x, y, 0.6).keys() > {"mse", "auxk"}
    assert all(torch.equal(t, before[n]) for n, t in d.state_dict().items())


@pytest.mark.parametrize("name", BEGUN)
def test_a_training_may_end_within_its_topk_start(name):
    d, goal, x, y = made(name, l0=3.0, topk_until=1.0)
    d.requires_grad_(False)
    if name == "gated":
        d.r_mag.zero_()
    goal.losses(d, x, y, 0.9)
    scores = dense(d, x)
    cut = scores.flatten().topk(3 * N + 1).values[-1]
    told = ((scores - cut).abs() > 1e-5).all(1)  # rows without the score that is the cut
    wanted = torch.where(scores > cut, scores, 0) @ d.w_dec + d.b_dec
    goal.finish(d, x)
    assert int(told.sum()) == N - 1
    if name == "jumprelu":  # which gives decoder rows unit norm, so that another factor on thresholds has the L0
        assert abs(len(d.encode(x).indices) - 3 * N) <= 1
    else:
        torch.testing.assert_close(d(x)[told], wanted[told])


def test_where_nothing_is_positive_thresholds_are_the_least():
    d, goal, x, y = made("jumprelu", l0=3.0)
    d.b_enc.data.fill_(-100)
    goal.losses(d, x, y, 0.5)
    torch.testing.assert_close(d.threshold, torch.full((F,), jumprelu.LEAST))


@pytest.mark.parametrize("name", BEGUN)
def test_of_many_features_a_batch_has_its_largest_to_begin_with(name, monkeypatch):
    monkeypatch.setattr(begun, "FEW", 2.0)
    d, goal, x, y = made(name, l0=2.5, topk_until=0.5, auxk=0)
    d.b_enc.data.normal_(generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # without a guess of the cut, and with one
        scores = dense(d, x)
        with torch.no_grad():
            cut = scores.flatten().topk(round(2.5 * N)).values[-1]
        code = torch.where(scores >= cut, scores, 0).relu()
        agree(d, goal.losses(d, x, y, 0.2), {"mse": (y - code @ d.w_dec - d.b_dec).square().mean()})
        assert goal.l0 == round(2.5 * N) / N and float(goal.guess) == pytest.approx(float(cut))


@pytest.mark.parametrize("name", BEGUN)
def test_a_topk_start_may_be_wide(name):
    d, goal, x, y = made(name, l0=2.0, l0_start=3.0, l0_until=0.4, topk_until=0.5)
    d.b_enc.data.fill_(10)  # so that all scores are positive
    found = [len(x) * goal.l0 for p in (0.0, 0.2, 0.4, 0.45) if goal.losses(d, x, y, p)]
    assert found == pytest.approx([6 * N, 4 * N, 2 * N, 2 * N])


def test_who_begins_as_topk():
    assert {"gated", "jumprelu"} <= set(BEGUN)
    share = {
        (name, tuple(more)): objective(name)(architecture(name)(D, F), 1000, 0, **more).topk_until()
        for name in ("gated", "jumprelu")
        for more in ({}, {"l0": 3.0}, {"l0": 3.0, "topk_until": 0}, {"l0": 3.0, "topk_until": 0.2, "penalty": 1.0})
    }
    assert list(share.values()) == [0, 0.5, 0, 0.2] * 2
    told = {"l0": 3.0, "form": "tanh"}
    assert objective("jumprelu")(architecture("jumprelu")(D, F), 1000, 0, **told).topk_until() == 0
    assert objective("jumprelu")(architecture("jumprelu")(D, F), 1000, 0, **told, topk_until=0.3).topk_until() == 0.3
    with pytest.raises(MonoscopeError, match="how many features a row has"):
        made("gated", topk_until=0.5)


def test_folding_decoder_norms_leaves_the_reconstruction():
    """Bar 20."""
    d, goal, x, _ = made("l1")
    d.requires_grad_(False)
    before = d(x)
    goal.finish(d, x)
    torch.testing.assert_close(d(x), before)
    torch.testing.assert_close(d.directions.norm(dim=1), torch.ones(F))
    d, goal, x, _ = made("jumprelu", form="tanh")
    d.requires_grad_(False)
    before = d(x)
    goal.finish(d, x)
    torch.testing.assert_close(d(x), before)
    fold_norms(d)
    torch.testing.assert_close(d(x), before)


def test_the_controller_reaches_its_goal_on_a_slow_plant():
    """L0 follows weight^-1.5 with a lag of 30 steps; whether the weight begins far too high or far too low."""
    for first in (0.01, 100.0):
        control, log_l0 = Control(first, 32.0, 0.05), math.log(500)
        for step in range(1000):
            weight = max(control.weigh(math.exp(log_l0), step / 1000), 1e-9)
            log_l0 += (math.log(2000) - 1.5 * math.log(weight) - log_l0) / 30
        assert math.exp(log_l0) == pytest.approx(32, rel=0.02)


@pytest.mark.parametrize("form", ["step", "tanh"])
def test_thresholds_are_led_to_the_wanted_l0_before_anything_is_calibrated(form):
    x = planted(40_000)[0]
    data = rows.from_arrays(x, None, 500, 120_000, 0, hold_back=True)
    trainee = Recipe.of("jumprelu", 96, l0=4, rate=1e-2, form=form).trainee(data)
    seen: list[float] = []
    trainee.objective.finish = lambda dictionary, x: seen.append(len(dictionary.encode(x).indices) / len(x))
    train(data, {"main": trainee})
    assert seen[0] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("start", [1.5, 6.0])
def test_the_wanted_l0_begins_and_falls_as_it_is_told(start: float):
    data = rows.from_arrays(planted(40_000)[0], None, 500, 30_000, 0, hold_back=True)
    trainee = Recipe.of("jumprelu", 96, l0=4, l0_start=start, l0_until=0.5, topk_until=0).trainee(data)
    seen: list[float] = []
    train(data, {"main": trainee}, logs=[lambda _n, _shown: seen.append(trainee.objective.control.goal)])
    falling = [math.exp((1 - p / 0.5) * math.log(seen[0]) + p / 0.5 * math.log(4)) for p in (0.0, 0.25)]
    assert seen[0] == pytest.approx(4 * start, rel=0.1)  # 500 rows know their mean to 2 %
    assert [seen[0], seen[15]] == pytest.approx(falling)
    assert seen[30:] == pytest.approx([4.0] * 30)
    with pytest.raises(MonoscopeError, match=r"l0_until of jumprelu is 1\.5"):
        Recipe.of("jumprelu", 96, l0=4, l0_until=1.5).trainee(data)
    with pytest.raises(MonoscopeError, match="l0_start of jumprelu is 0"):
        Recipe.of("jumprelu", 96, l0=4, l0_start=0).trainee(data)


def test_without_a_wanted_l0_the_weight_is_fixed_after_warming_up():
    for wrong, said in ({"until": 1.5}, "l0_until is 1.5"), ({"wanted": 0.0}, "an L0 of 0"):
        with pytest.raises(MonoscopeError, match=said):
            Control(**{"weight": 4.0, "wanted": 8.0, "warmup": 0.1, **wrong})
    control = Control(4.0, None, 0.1)
    assert [control.weigh(9.0, p) for p in (0, 0.05, 0.1, 1)] == pytest.approx([0, 2, 4, 4])


@pytest.mark.parametrize("name", [*PENALISED, "l1_2023"])
def test_planted_features_are_recovered_at_the_wanted_l0(name):
    x, directions = planted(60_000)
    found = fit(x, 96, name, l0=4, batch_size=500, rate=1e-2, n_tokens=180_000, show_progress=False)
    held_out, _ = planted(8000, seed=1)
    code = found.encode(held_out)
    left = held_out - found.decode(code)
    learned = normalize(found.directions)
    assert len(code.indices) / len(code) == pytest.approx(4, rel=0.05)
    assert float((learned @ directions.T).max(0).values.mean()) > 0.9
    assert float(left.square().sum() / (held_out - held_out.mean(0)).square().sum()) < (
        0.35 if name == "l1_2023" else 0.25
    )
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(96), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PENALISED)
def test_a_penalised_transcoder_learns_at_the_wanted_l0(name):
    x, _ = planted(40_000)
    target = x @ torch.randn(24, 7, generator=torch.Generator().manual_seed(5)) * 10
    options = {"l0": 6, "target": target, "batch_size": 500, "rate": 1e-2, "n_tokens": 60_000}
    found = fit(x, 96, name, show_progress=False, **options)
    code = found.encode(x[:5000])
    left = target[:5000] - found.decode(code)
    assert len(code.indices) / len(code) == pytest.approx(6, rel=0.05)
    assert float(left.square().sum() / (target - target.mean(0))[:5000].square().sum()) < 0.5


def test_every_penalised_objective_says_what_it_can_be_told():
    assert {"l1", "gated", "p_anneal", "jumprelu"} <= set(PENALISED)
    for name in PENALISED:
        assert {"l0", "l0_start", "l0_until", "penalty", "penalty_warmup", "auxk", "beta1", "decoder_rate"} <= set(
            Recipe.of(name, 8).objective.defaults
        )
        assert name in plugins.names(PACKAGE)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [*PENALISED, "l1_2023"])
def test_rows_that_nothing_saw_have_the_wanted_l0_after_a_short_training(name, seed):
    """A hundred steps are too few for the controller alone; the shift at the end makes up for it."""
    x, _ = planted(100_000)  # a twentieth of them is held back, so that its own mean is known to a percent or so
    found = fit(x, 96, name, l0=5, batch_size=500, rate=1e-2, n_tokens=50_000, seed=seed, show_progress=False)
    code = found.encode(planted(20_000, seed=7)[0])
    assert len(code.indices) / len(code) == pytest.approx(5, rel=0.05)


def test_the_shift_is_the_one_at_which_the_rows_have_that_l0():
    for name in ("l1", "p_anneal", "gated", "l1_2023"):
        for l0 in (0.5, 2.0, 6.5):  # fewer than now, and more
            d = architecture(name)(D, F)
            generator = torch.Generator().manual_seed(3)
            for parameter in d.parameters():
                parameter.data = torch.randn(parameter.shape, generator=generator) / 2
            goal = objective(name)(d, 1000, 0, l0=l0)
            d.requires_grad_(False)
            x = torch.randn(200, D, generator=generator)
            goal.finish(d, x)
            assert abs(len(d.encode(x).indices) - l0 * 200) <= 1, (name, l0)  # the score at the cut may round up


@pytest.mark.parametrize("piece", [5, calibrate.PIECE])
def test_the_cut_leaves_so_many_scores_above_it(piece, monkeypatch):
    monkeypatch.setattr(calibrate, "PIECE", piece)
    generator = torch.Generator().manual_seed(0)
    blocks = [torch.randn(3, 7, generator=generator) for _ in range(9)]
    every = torch.cat([b.flatten() for b in blocks])
    for wanted in (1, 5, 100, 188):
        assert int((every > cut(blocks, wanted)).sum()) == wanted
    assert cut(blocks, 500) == float(every.min())


def test_gates_move_without_touching_magnitudes_that_stay():
    """Fewer features: those that remain keep their values exactly; only gates close."""
    d, goal, x, _ = made("gated", l0=1.0, topk_until=0)
    d.requires_grad_(False)
    before = d.encode(x).to_dense()
    goal.finish(d, x)
    after = d.encode(x).to_dense()
    assert int((after > 0).sum()) == N < int((before > 0).sum())
    torch.testing.assert_close(after, torch.where(after > 0, before, 0))
