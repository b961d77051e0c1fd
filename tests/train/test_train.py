"""Training: recovery of planted features, exact resume, AuxK, the 2023 recipe's steps, schedules, bad input."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import plugins
from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.ops.adam import BETAS
from monoscope.train import checkpoint, dead, memory, rows, schedules, trainee
from monoscope.train.calibrate import calibrate
from monoscope.train.fit import Recipe, fit, known_options
from monoscope.train.loop import Keeping, train
from monoscope.train.objective import PACKAGE, RATE, objective
from monoscope.train.objectives import batch_topk
from monoscope.train.objectives.l1_2023 import geometric_median
from monoscope.train.schedules import Schedule

D, TRUE = 24, 48


def planted(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows made of few of ``TRUE`` unit directions, and the directions."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(TRUE, D, generator=generator))
    generator = torch.Generator().manual_seed(100 + seed)
    active = (torch.rand(n, TRUE, generator=generator) < 0.06) * torch.rand(n, TRUE, generator=generator)
    return active @ directions + 0.5, directions


def data_of(n: int = 20_000, batch: int = 500, *, hold_back: bool = False):
    return rows.from_arrays(planted(n)[0], None, batch, None, 0, hold_back=hold_back)


def recovered(dictionary, directions) -> float:
    """Mean over true directions of the best cosine with a learned one."""
    learned = torch.nn.functional.normalize(dictionary.directions)
    return float((learned @ directions.T).max(0).values.mean())


@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_planted_features_are_recovered(name):
    x, directions = planted(60_000)
    found = fit(x, 96, name, k=4, batch_size=500, rate=1e-2, n_tokens=180_000, show_progress=False)
    held_out, _ = planted(5000, seed=1)
    left = held_out - found(held_out)
    fvu = float(left.square().sum() / (held_out - held_out.mean(0)).square().sum())
    random = fit(x, 96, name, k=4, batch_size=500, rate=1e-2, frozen=("w_dec",), show_progress=False)
    assert recovered(found, directions) > 0.95
    assert recovered(random, directions) < 0.8
    assert fvu < 0.25
    code = found.encode(held_out)
    assert abs(len(code.indices) / len(code) - 4) / 4 < 0.06  # batch_topk: the calibrated threshold keeps the L0


def test_l1_2023_learns_and_keeps_unit_rows():
    x, directions = planted(60_000)
    found = fit(
        x, 96, "l1_2023", batch_size=500, rate=1e-2, penalty=0.06, sample=5000, n_tokens=300_000, show_progress=False
    )
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(96), rtol=1e-5, atol=1e-5)
    assert recovered(found, directions) > 0.85


@pytest.mark.parametrize("name", architectures())
def test_every_parameter_moves_and_frozen_ones_do_not(name):
    data = data_of(2000)
    trainee = Recipe.of(name, 32, frozen=("b_dec",)).trainee(data)
    before = {n: p.detach().clone() for n, p in trainee.dictionary.named_parameters()}
    x, y = data.sample
    for step in range(3):
        trainee.step(x[:500], y[:500], 500 * (step + 1), 10_000)
    for n, p in trainee.dictionary.named_parameters():
        assert torch.equal(p, before[n]) == (n == "b_dec"), n


@pytest.mark.parametrize("name", architectures())
def test_resume_after_a_stop_is_bit_for_bit_no_stop(name, tmp_path):
    """Law 4, over every architecture. The stop comes from the data, in the middle of the pass."""
    short = {"sample": 4000, "dead_after": 600}  # for those that look back or keep count
    recipe = Recipe.of(name, 64, **known_options(name, {**short, "l0": 8.0}))
    hold = recipe.calibrates

    def run(folder, stop_after: int | None):
        data = data_of(hold_back=hold)
        whole = data.batches

        def limited(start: int):
            for done, pair in enumerate(whole(start)):
                if stop_after is not None and start == 0 and done == stop_after:
                    raise KeyboardInterrupt
                yield pair

        trainees = {"main": recipe.trainee(data)}
        return train(replace(data, batches=limited), trainees, keeping=Keeping(folder, every_seconds=0, plan={"a": 1}))

    undisturbed = run(tmp_path / "one", None)["main"]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", 17)
    resumed = run(tmp_path / "two", None)["main"]
    for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", architectures())
def test_the_same_seed_gives_the_same_numbers_and_another_does_not(name):
    x, _ = planted(4000)
    a, b, c = (fit(x, 32, name, batch_size=500, seed=s, show_progress=False) for s in (1, 1, 2))
    assert torch.equal(a.w_dec, b.w_dec)
    assert not torch.equal(a.w_dec, c.w_dec)
    assert (a.provenance["seed"], c.provenance["seed"]) == (1, 2)


def test_a_checkpoint_of_another_plan_or_a_damaged_one_is_refused(tmp_path):
    data = data_of(2000)
    trainees = {"main": Recipe.of("topk", 16, k=4).trainee(data)}
    checkpoint.save(tmp_path, trainees, {"plan": {"k": 4}, "seen": 0})
    with pytest.raises(MonoscopeError, match="another k"):
        checkpoint.restore(tmp_path, trainees, {"k": 5})
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MonoscopeError, match="damaged"):
        checkpoint.restore(tmp_path, trainees, {"k": 4})


def test_auxk_moves_encoder_and_decoder_of_dead_features_also_below_zero():
    dictionary = architecture("topk")(8, 20, k=2)
    generator = torch.Generator().manual_seed(0)
    for p in dictionary.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    dictionary.b_enc.data -= 100  # every score is far below zero
    x = torch.randn(30, 8, generator=generator)
    marked = torch.zeros(20, dtype=torch.bool)
    marked[[3, 7]] = True
    loss = dead.auxk(dictionary, x, torch.randn(30, 8, generator=generator), marked)
    loss.backward()
    for parameter in (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec):
        moved = parameter.grad.reshape(20, -1).abs().sum(1) > 0
        assert torch.equal(moved, marked)


def test_auxk_revives_dead_features():
    """Features buried by a large negative bias come back with AuxK and stay dead without."""
    alive = {}
    for weight in (0.0, 1 / 8):
        data = data_of(180_000)
        trainee = Recipe.of("topk", 64, k=4, auxk=weight, dead_after=1000, rate=3e-2).trainee(data)
        trainee.dictionary.b_enc.data[:32] = -6
        made = train(data, {"main": trainee})["main"]
        alive[weight] = len(made.encode(planted(4000, 1)[0]).indices.unique())
    assert alive[1 / 8] > alive[0.0] + 10


@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_k_begins_wide_and_ends_as_asked(name):
    data = data_of()
    goal = Recipe.of(name, 96, k=4, k_start=3.0, k_until=0.5).trainee(data)
    x, y = next(iter(data.batches(0)))
    for progress, k in ((0.0, 12), (0.25, 8), (0.5, 4), (0.9, 4)):
        goal.objective.losses(goal.dictionary, x, y, progress)
        assert goal.objective.l0 == pytest.approx(k, abs=0.2)
    found = fit(planted(20_000)[0], 96, name, k=4, k_start=3.0, batch_size=500, show_progress=False)
    assert found.options() == {"k": 4}


def test_silence_counts_tokens_since_a_feature_fired():
    data = data_of(2000)
    dictionary = Recipe.of("topk", 16, k=4).trainee(data).dictionary
    silence = dead.Silence(16)
    x = data.sample[0][:100] - data.sample[0].mean(0)
    code = dictionary.encode(x)
    silence.hear(len(code), torch.bincount(code.indices, minlength=code.n_features) > 0)
    fired = torch.zeros(16, dtype=torch.bool)
    fired[code.indices.long()] = True
    assert torch.equal(silence.tokens == 0, fired)
    assert torch.equal(silence.dead(100), ~fired)


def test_resampling_does_its_six_steps():
    """Bar 18: unit decoder row, encoder at 0.2 of the living norm, zero bias, zero Adam moments."""
    data = data_of(4000)
    trainee = Recipe.of("l1_2023", 16, sample=2000, centred_resampling=False).trainee(data)
    d, goal = trainee.dictionary, trainee.objective
    x, y = data.sample
    trainee.step(x[:500], y[:500], 0, 4000)
    for seen in (1000, 1500):  # the step itself drew at 500
        goal.draw(x[seen : seen + 500], y[seen : seen + 500], seen)
    assert len(goal.rows) == 16
    kept = goal.rows[goal.keys.argsort(descending=True)]
    marked = torch.zeros(16, dtype=torch.bool)
    marked[[2, 9]] = True
    norm = d.w_enc[~marked].norm(dim=1).mean()
    untouched = d.w_enc[~marked].clone()
    goal.resample(d, trainee, marked)
    torch.testing.assert_close(d.w_dec[marked], torch.nn.functional.normalize(kept[:2, D:]))
    torch.testing.assert_close(d.w_enc[marked].norm(dim=1), torch.full((2,), float(norm.detach()) * 0.2))
    assert d.b_enc[marked].abs().max() == 0
    assert torch.equal(d.w_enc[~marked], untouched)
    for name in ("w_dec", "w_enc", "b_enc"):
        for moment in trainee.moments[name]:
            assert moment[marked].abs().max() == 0
            assert moment[~marked].abs().max() > 0


def test_after_every_step_rows_are_units_and_no_gradient_along_them_reached_adam():
    """Bar 18: the rest of it. A scalar product of D numbers is off by at most D ε of the lengths."""
    data = data_of(4000)
    trainee = Recipe.of("l1_2023", 16, rate=1e-2, resample_at=()).trainee(data)
    rows, (first, _) = trainee.parameters["w_dec"], trainee.moments["w_dec"]
    raw = []
    rows.register_hook(lambda gradient: raw.append(gradient.clone()))
    bound = D * torch.finfo(torch.float32).eps
    for x, y in data.batches(0):
        before, moment = rows.detach().clone(), first.clone()
        trainee.step(x, y, 0, 4000)
        added = first - BETAS[0] * moment
        reach = first.norm(dim=1) + BETAS[0] * moment.norm(dim=1)
        assert ((added * before).sum(1).abs() <= bound * reach).all()
        assert ((raw[-1] * before).sum(1).abs() > 100 * bound * raw[-1].norm(dim=1)).any()  # there was something along
        assert (rows.detach().norm(dim=1) - 1).abs().max() <= bound


def test_random_resampling_gives_new_weights_and_nothing_else():
    data = data_of(4000)
    trainee = Recipe.of("l1_2023", 16, resample_at=(0.5,), resample_from="initial").trainee(data)
    d, goal = trainee.dictionary, trainee.objective
    x, y = data.sample
    with torch.no_grad():
        d.b_enc[[2, 9]] = -100.0
    for seen in range(0, 1500, 500):
        trainee.step(x[seen : seen + 500], y[seen : seen + 500], seen, 4000)
    marked = goal.silence.dead(1000)
    assert marked[[2, 9]].all() and not marked.all()
    before, bias = {n: p.detach().clone() for n, p in d.named_parameters()}, d.b_enc.detach().clone()
    moments = [m.clone() for pair in trainee.moments.values() for m in pair]
    goal.after_step(d, trainee, x, y, 2000)  # the time of the one resampling
    assert int(goal.resampled) == 1 and len(goal.rows) == 0
    for name in ("w_enc", "w_dec"):
        changed = (getattr(d, name) != before[name]).any(1)
        assert torch.equal(changed, marked), name
    torch.testing.assert_close(d.w_dec.norm(dim=1), torch.ones(16))
    assert d.w_enc[marked].abs().max() <= (6 / D) ** 0.5
    assert torch.equal(d.b_enc, bias)
    assert all(torch.equal(a, b) for a, b in zip(moments, [m for pair in trainee.moments.values() for m in pair]))


def test_inputs_are_drawn_in_proportion_to_squared_loss():
    data = data_of(2000)
    trainee = Recipe.of("l1_2023", 4).trainee(data)
    goal = trainee.objective
    x = torch.zeros(2, D)
    x[0, 0], x[1, 0] = 1.0, 2**0.25  # losses 1 and √2: squared 1 and 2
    goal.left = x  # a step that explained nothing
    first = 0
    for seen in range(600):
        goal.keys, goal.rows = goal.keys[:0], goal.rows[:0]
        goal.draw(x, x, seen)
        first += int(goal.rows[goal.keys.argmax(), 0] > 1.1)
    assert abs(first / 600 - 2 / 3) < 4 * math.sqrt(2 / 9 / 600)


def test_the_geometric_median_is_not_the_mean():
    x = torch.zeros(101, 3)
    x[100] = 1000.0
    assert float(geometric_median(x).norm()) < 1e-2


def test_schedules_warm_up_and_decay():
    s = Schedule(2.0, warmup=0.1, decay=0.2)
    assert [s.at(p) for p in (0, 0.05, 0.1, 0.5, 0.8, 0.9, 1)] == pytest.approx([0, 1, 2, 2, 2, 1, 0])
    with pytest.raises(MonoscopeError, match="add up"):
        Schedule(1.0, 0.6, 0.6)


def test_a_transcoder_learns_a_linear_map():
    x, _ = planted(40_000)
    target = x @ torch.randn(D, 7, generator=torch.Generator().manual_seed(5)) * 10
    found = fit(x, 96, "topk", k=6, target=target, batch_size=500, rate=1e-2, show_progress=False)
    left = target - found(x)
    assert found.d_out == 7
    assert float(left.square().sum() / (target - target.mean(0)).square().sum()) < 0.4


def test_blocks_and_arrays_are_read_alike():
    x, _ = planted(4000)
    whole = fit(iter(x.split(700)), 32, "topk", k=4, n_tokens=4000, batch_size=500, show_progress=False)
    assert whole.provenance["n_tokens"] == 4000
    with pytest.raises(MonoscopeError, match="ended after 4,000 rows of 5,000"):
        fit(iter(x.split(700)), 32, "topk", k=4, n_tokens=5000, batch_size=500, show_progress=False)
    with pytest.raises(MonoscopeError, match="pass n_tokens"):
        fit(iter(x.split(700)), 32, "topk", k=4, show_progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "tokp"}, "did you mean 'topk'"),
        ({"penalty": 3}, "has no option 'penalty'"),
        ({"batch_size": 100_000}, "fewer than one batch"),
        ({"architecture": "jumprelu", "form": "quadratik"}, "did you mean 'quadratic'"),
        ({"architecture": "jumprelu", "form": "quadratic"}, "pass l0"),
        ({"architecture": "l1", "l0": 0}, "L0 of 0"),
        ({"k": 99}, "choose k"),
        ({"rate": -1.0}, "rate is above 0"),
        ({"architecture": "l1_2023", "resample_from": "input"}, "did you mean 'inputs'"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(MonoscopeError, match=message):
        fit(
            planted(4000)[0],
            **{
                "n_features": 32,
                "k": 4,
                "architecture": "topk",
                "batch_size": 500,
                "show_progress": False,
                **arguments,
            },
        )


def test_unusable_rows_are_refused():
    x, _ = planted(8000)
    with pytest.raises(MonoscopeError, match="shape"):
        fit(x[0], 32, show_progress=False)
    with pytest.raises(MonoscopeError, match="alike"):
        fit(torch.ones(8000, 4), 8, k=2, show_progress=False)
    with pytest.raises(MonoscopeError, match="not finite"):
        fit(x.clone().index_fill_(0, torch.tensor([5]), torch.nan), 32, k=4, batch_size=500, show_progress=False)


def test_objectives_have_defaults_and_names():
    for name in plugins.names(PACKAGE):
        assert isinstance(objective(name).defaults, dict)


def test_more_tokens_than_rows_are_epochs_that_never_touch_what_was_held_back():
    x = torch.randn(1000, 4)
    data = rows.from_arrays(x, None, 100, 2500, 0, hold_back=True)
    held = {tuple(row) for row in data.held_out().tolist()}
    assert len(held) == 50
    seen = [tuple(row) for batch, _ in data.batches(0) for row in batch.tolist()]
    assert len(seen) == 2500
    first, second = seen[:950], seen[950:1900]
    assert set(first) == set(second) and first != second
    assert not held & set(seen)
    again = [tuple(row) for batch, _ in data.batches(1300) for row in batch.tolist()]
    assert again == seen[1300:]


def test_a_transcoder_of_equal_widths_does_not_subtract_its_output_from_its_input():
    x, _ = planted(4000)
    y = x.flip(1) + 30.0
    made = fit(x, 48, "l1_2023", target=y, batch_size=500, n_tokens=40_000, rate=1e-2, show_progress=False)
    fvu = float((y - made(x)).square().sum() / (y - y.mean(0)).square().sum())
    assert not made.centres
    assert fvu < 1


def test_the_usual_rate_falls_with_steps_and_features_and_gives_way_to_what_is_told():
    data = rows.from_arrays(torch.randn(2000, 8), None, 100, None, 0, hold_back=False)
    of = {name: Recipe.of(name, 16, k=2).trainee(data).schedule.rate for name in ("topk", "l1")}
    assert of["topk"] == schedules.usual_rate(20, 16) == schedules.RATE
    assert of["l1"] == RATE
    assert Recipe.of("topk", 16, k=2, rate=1e-3).trainee(data).schedule.rate == 1e-3
    rates = [schedules.usual_rate(*at) for at in ((200, 3072), (1600, 3072), (200, 12_288), (1600, 12_288))]
    assert rates == pytest.approx([6e-3, 3e-3, 3e-3, 1.5e-3])


def test_encoder_scale_and_rates_do_what_they_say():
    data = rows.from_arrays(torch.randn(2000, 9), None, 100, None, 0, hold_back=False)
    trainee = Recipe.of("topk", 16, k=2, encoder_scale=0.25).trainee(data)
    assert torch.equal(trainee.dictionary.w_enc, trainee.dictionary.w_dec / 4)
    goal = trainee.objective
    assert [goal.rate_of(n, trainee.dictionary) for n in ("w_enc", "w_dec", "b_enc")] == [1.0, 2.0, 1.5]
    plain = Recipe.of("topk", 16, k=2, decoder_rate=1.0, bias_rate=1.0, beta1=0.9, beta2=0.999).trainee(data).objective
    assert plain.betas == (0.9, 0.999)
    assert plain.rate_of("b_dec", trainee.dictionary) == plain.rate_of("w_dec", trainee.dictionary) == 1.0


def test_training_copies_no_more_of_an_array_than_a_batch_and_keeps_none(monkeypatch):
    asked, batches_held = [], []
    original = rows.ArraySource._at

    def at(self, places):
        asked.append(len(places))
        found = original(self, places)
        batches_held.append(weakref.ref(found.values["x"]))
        assert sum(ref() is not None for ref in batches_held) <= 2  # the newest, and where two chunks meet one more
        return found

    monkeypatch.setattr(rows.ArraySource, "CHUNK", 3300)
    monkeypatch.setattr(rows.ArraySource, "_at", at)
    data = rows.from_arrays(planted(8000)[0], None, 500, 20_000, 0, hold_back=True)
    fitted = Recipe.of("batch_topk", 32, k=4).trainee(data)
    train(data, {"main": fitted})
    assert max(asked) <= 1024
    assert sum(ref() is not None for ref in batches_held) == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(1, 5), st.floats(0.1, 10), st.floats(-100, 100), st.integers(0, 9))
def test_units_of_pieces_are_those_of_the_whole(n, d, scale, shift, seed):
    x = torch.randn(n + 1, d, generator=torch.Generator().manual_seed(seed)) * scale + shift
    found = rows.units_of((part, part) for part in x.split(max(1, n // 3)))
    exact = x.double()
    torch.testing.assert_close(found.mean_in, exact.mean(0).float(), rtol=1e-6, atol=1e-6)
    assert found.scale_in == pytest.approx(float((exact - exact.mean(0)).square().mean().sqrt()), rel=1e-6)
    assert torch.equal(found.mean_out, found.mean_in) and found.scale_out == found.scale_in


def test_chunks_in_another_order_are_the_same_batches_as_copies(monkeypatch):
    """Later epochs, and batches over the ends of chunks: what is picked late is what copying at once would give."""
    monkeypatch.setattr(rows.ArraySource, "CHUNK", 700)
    x = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    order = np.random.default_rng(5).permutation(2000)
    chunks = [x[order[i : i + 700]] for i in range(0, 2000, 700)]
    again = [c[np.random.default_rng((5, 1, i)).permutation(len(c))] for i, c in enumerate(chunks)]
    data = rows.from_arrays(x, None, 300, 4000, 5, hold_back=False)
    whole = torch.cat(chunks + again)
    for start in (0, 600, 1950):
        found = torch.cat([batch for batch, _ in data.batches(start)])
        assert torch.equal(found, whole[start : start + len(found)])


@pytest.mark.parametrize("spare", [0, 100, 2000])
def test_an_iterable_is_calibrated_on_rows_that_are_not_trained_on_and_trained_on_n_tokens(spare, monkeypatch):
    """Also where it holds no more than ``n_tokens``: the first rows trained on are then read twice."""
    trained, calibrated = [], []
    monkeypatch.setattr(
        trainee.Trainee,
        "step",
        lambda self, x, *a, _step=trainee.Trainee.step: trained.extend(x.tolist()) or _step(self, x, *a),
    )
    monkeypatch.setattr(batch_topk, "calibrate", lambda d, x: calibrated.extend(x.tolist()) or calibrate(d, x))
    x = torch.randn(6000 + spare, D, generator=torch.Generator().manual_seed(0))
    fit(iter(x.split(700)), 32, "batch_topk", k=4, n_tokens=6000, batch_size=500, show_progress=False)
    assert len(trained) == 6000 and len(calibrated) == 300
    assert not {tuple(row) for row in trained} & {tuple(row) for row in calibrated}
    assert len({tuple(row) for row in trained}) == (6000 if spare > 300 else 5500)


def test_an_iterable_that_ends_a_few_rows_early_is_an_error():
    x, _ = planted(5990)
    with pytest.raises(MonoscopeError, match="of 6,000"):
        fit(iter(x.split(700)), 32, "batch_topk", k=4, n_tokens=6000, batch_size=500, show_progress=False)


def test_the_l0_is_met_on_texts_of_which_none_was_trained_on():
    """Rows of a document are alike. Learned by heart, it activates fewer features than a new one: rows that are kept
    back of the documents trained on set the threshold too low for others, rows ``apart`` do not."""

    def documents(n, seed):
        generator = torch.Generator().manual_seed(seed)
        own = torch.randn(n, 1, D, generator=generator)
        return (own + 0.3 * torch.randn(n, 100, D, generator=generator)).flatten(0, 1)

    trained, other, judge = documents(40, 0), documents(100, 1), documents(200, 2)
    l0 = {}
    for name, apart in (("within", None), ("apart", rows.ArraySource(other, None, 0))):
        source = rows.ArraySource(trained, None, 0)
        data = rows.from_source(source, "x", None, 200, 40_000, hold_back=True, apart=apart)
        made = train(data, {"main": Recipe.of("batch_topk", 64, k=4, rate=1e-2).trainee(data)})["main"]
        l0[name] = float(made.encode(judge).counts().double().mean())
    assert abs(l0["within"] - 4) > 0.4
    assert l0["apart"] == pytest.approx(4, rel=0.06)  # 100 documents: about 3 % each way


def test_memory_is_kept_inside_a_training_and_given_back(monkeypatch):
    calls = []

    class Library:
        def mallopt(self, *setting):
            calls.append(setting)

        def malloc_trim(self, pad):
            calls.append("given back")

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    with pytest.raises(ValueError), memory.kept():
        assert calls == [(memory.MMAP, memory.KEPT), (memory.TRIM, memory.KEPT)]
        raise ValueError
    assert calls[2:] == [*memory.USUAL.items(), "given back"]
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # another C library
    with memory.kept():
        pass


def test_the_target_of_a_streamed_autoencoder_is_its_input():
    blocks = list(torch.randn(900, 4).split(70))
    for hold_back in (False, True):
        data = rows.from_blocks(iter(blocks), None, 100, 600, hold_back=hold_back)
        x, y = data.first(50)
        assert y is x
        assert all(y is x for x, y in data.batches(0))
    assert "target" not in fit(iter(blocks), 8, "topk", 2, 600, 100, show_progress=False).provenance
