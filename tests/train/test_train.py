"""Training: recovery of planted features, exact resume, seeds, checkpoints, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted import D, data_of, planted, recovered

from monoscope import plugins
from monoscope.dictionary.base import architectures
from monoscope.errors import MonoscopeError
from monoscope.train import checkpoint, memory
from monoscope.train.fit import Recipe, fit, known_options
from monoscope.train.loop import Keeping, train
from monoscope.train.objective import PACKAGE, objective


@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_planted_features_are_recovered(name):
    x, directions = planted(60_000)
    found = fit(x, 96, name, k=4, batch_size=500, rate=1e-2, n_tokens=120_000, show_progress=False)
    held_out, _ = planted(5000, seed=1)
    left = held_out - found(held_out)
    fvu = float(left.square().sum() / (held_out - held_out.mean(0)).square().sum())
    random = fit(x, 96, name, k=4, batch_size=500, rate=1e-2, frozen=("w_dec",), show_progress=False)
    assert recovered(found, directions) > 0.95
    assert recovered(random, directions) < 0.8
    assert fvu < 0.25
    code = found.encode(held_out)
    assert abs(len(code.indices) / len(code) - 4) / 4 < 0.06  # batch_topk: the calibrated threshold keeps the L0


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


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, {"resample_at": (0.4, 0.6), "dense_penalty": 1.0}) for name in architectures()),
        ("batch_topk", {"topk_until": 0.8}),  # what is stopped before the end of a TopK start, and after it
        ("jumprelu", {"topk_until": 0.2}),
        ("gated", {"topk_until": 0.2}),
        ("topk", {"clip": 0.0, "loss_per": "row", "epsilon": 1e-6, "auxk_features": 3, "decoder_bias": "median"}),
        ("l1", {"encoder_scale": "d_in/n_features", "decoder_scale": 0.1, "first_active": 9.0}),
    ],
)
def test_resume_after_a_stop_is_bit_for_bit_no_stop(name, more, tmp_path):
    """Law 4, over every architecture. The stop comes from the data, in the middle of the pass."""
    short = {"sample": 1000, "dead_after": 150}  # for those that look back or keep count
    recipe = Recipe.of(name, 64, **known_options(name, {**short, "l0": 8.0, **more}))
    hold = recipe.calibrates

    def run(folder, stop_after: int | None, every: float = 0):
        data = data_of(5_000, 125, hold_back=hold)
        whole = data.batches

        def limited(start: int):
            for done, pair in enumerate(whole(start)):
                if stop_after is not None and start == 0 and done == stop_after:
                    raise KeyboardInterrupt
                yield pair

        trainees = {"main": recipe.trainee(data)}
        return train(replace(data, batches=limited), trainees, keeping=Keeping(folder, every, plan={"a": 1}))

    undisturbed = run(tmp_path / "one", None, every=1e9)["main"]  # and never saved
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", 17)
    resumed = run(tmp_path / "two", None)["main"]
    for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", architectures())
def test_the_same_seed_gives_the_same_numbers_and_another_does_not(name):
    x, _ = planted(2000)
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


def test_a_transcoder_learns_a_linear_map():
    x, _ = planted(40_000)
    target = x @ torch.randn(D, 7, generator=torch.Generator().manual_seed(5)) * 10
    found = fit(x, 96, "topk", k=6, target=target, batch_size=500, rate=1e-2, show_progress=False)
    left = target - found(x)
    assert found.d_out == 7
    assert float(left.square().sum() / (target - target.mean(0)).square().sum()) < 0.4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "tokp"}, "did you mean 'topk'"),
        ({"penalty": 3}, "has no option 'penalty'"),
        ({"batch_size": 100_000}, "fewer than one batch"),
        ({"architecture": "jumprelu", "form": "quadratik"}, "did you mean 'quadratic'"),
        ({"architecture": "jumprelu", "form": "quadratic", "k": None}, "pass l0"),
        ({"architecture": "l1", "l0": 0}, "l0 of l1 is 0"),
        ({"k": 99}, "choose k"),
        ({"rate": -1.0}, "rate is above 0"),
        ({"architecture": "l1_2023", "resample_from": "input"}, "did you mean 'inputs'"),
        ({"k": 3.5}, "k of topk is 3.5"),
        ({"k": "4"}, "k of topk is '4'"),
        ({"k": 0}, "whole number of features a row"),
        ({"k": None, "l0": 3.5}, "whole number of features a row"),
        ({"architecture": "l1", "l0": 33}, "choose k between"),
        ({"n_features": 0}, "n_features of topk is 0"),
        ({"n_features": 32.5}, "n_features of topk is 32.5"),
        ({"seed": -1}, "seed of topk is -1"),
        ({"n_tokens": 0}, "n_tokens of a training is 0"),
        ({"n_tokens": -5}, "n_tokens of a training is -5"),
        ({"n_tokens": 10}, "fewer than one batch"),
        ({"n_tokens": 1000.5}, "n_tokens of a training is 1000.5"),
        ({"batch_size": 0}, "batch_size of a training is 0"),
        ({"rate": float("nan")}, "rate is above 0"),
        ({"rate": float("inf")}, "rate is above 0"),
        ({"warmup": float("nan")}, "warm-up nan"),
        ({"k": None, "l0": "4"}, "l0 of topk is '4'"),
        ({"k": None, "l0": float("nan")}, "l0 of topk is nan"),
        ({"skip": "no"}, "skip of topk is 'no'"),
        ({"frozen": "w_dec"}, "unknown parameter to freeze"),
        ({"frozen": ("w_dek",)}, "did you mean 'w_dec'"),
        ({"device": ""}, "the device '' is not there"),
        ({"device": ["cpu"]}, "the device .* is not there"),
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


@pytest.mark.parametrize("x", [None, 3, Path("rows.npy"), "rows.npy", {"x": torch.zeros(9, 2)}])
def test_what_holds_no_rows_is_refused(x):
    with pytest.raises(MonoscopeError, match="holds no rows"):
        fit(x, 16, n_tokens=900)
    with pytest.raises(MonoscopeError, match="holds no rows"):
        fit([torch.zeros(900, 2)], 16, n_tokens=900, target=3)


@pytest.mark.parametrize(
    ("x", "target", "message"),
    [
        ([(100, 8), (100, 8)], [(100, 3)], "blocks of target ended before"),
        ([(100, 8)], [(100, 3), (100, 3)], "blocks of x ended before"),
        ([(100, 8), (100, 8)], [(100, 3), (99, 3)], "100 rows and one of 99 targets"),
        ([(100, 8), (50, 8)], [(100, 3), (60, 3)], "50 rows and one of 60 targets"),
        ([(100, 8), (100, 9)], None, "blocks of widths .8, 8. and .9, 9."),
        ([(100, 8), (100, 8)], [(100, 3), (100, 4)], "blocks of widths"),
        ([(100, 8), (100, 8)], [(100, 3), "nan"], "a row of target is not finite"),
        ([(100, 8), "nan"], None, "a row of x is not finite"),
        ([(100, 8), "words"], None, "a block holds no numbers"),
    ],
)
def test_blocks_that_do_not_belong_together_are_refused(x, target, message):
    """Before a row is paired with another's target, and whatever is wrong with a block."""

    def made(shapes):
        width = shapes[0][1]
        other = {"nan": torch.full((100, width), torch.nan), "words": [["a", "b"]]}
        return [other[s] if isinstance(s, str) else torch.randn(s) for s in shapes]

    with pytest.raises(MonoscopeError, match=message):
        fit(made(x), 16, "topk", 4, 200, 50, target=None if target is None else made(target), show_progress=False)


@pytest.mark.parametrize("name", ["l1", "jumprelu", "gated", "p_anneal", "l1_2023"])
def test_k_is_the_l0_of_a_penalty_too(name):
    """To the bit. That trainings have the L0 that they are told is shown in ``test_penalties.py``."""
    x = planted(2000)[0]
    made, same, other = (
        fit(x, 64, name, batch_size=500, n_tokens=4000, show_progress=False, **told).state_dict()
        for told in ({"k": 4}, {"l0": 4.0}, {"k": 8})
    )
    assert all(torch.equal(made[part], same[part]) for part in made)
    assert not all(torch.equal(made[part], other[part]) for part in made)


def test_arrays_are_encoded_as_tensors_are():
    x = planted(2000)[0]
    made = fit(x.numpy(), 32, "topk", 4, batch_size=500, show_progress=False)
    held = x.numpy()
    held.flags.writeable = False
    code = made.encode(held)
    assert torch.equal(code.values, made.encode(x).values)
    assert torch.equal(made.decode(code, held), made.decode(code)) and torch.equal(made(held), made(x))
    with pytest.raises(MonoscopeError, match="for a dictionary of width"):
        made.encode(held[:, 1:])


def test_objectives_have_defaults_and_names():
    for name in plugins.names(PACKAGE):
        assert isinstance(objective(name).defaults, dict)


def test_a_transcoder_of_equal_widths_does_not_subtract_its_output_from_its_input():
    x, _ = planted(4000)
    y = x.flip(1) + 30.0
    made = fit(x, 48, "l1_2023", target=y, batch_size=500, n_tokens=40_000, rate=1e-2, show_progress=False)
    fvu = float((y - made(x)).square().sum() / (y - y.mean(0)).square().sum())
    assert not made.centres
    assert fvu < 1


def test_memory_is_kept_inside_a_training_and_given_back(monkeypatch):
    calls = []

    class Library:
        def mallopt(self, *setting):
            calls.append(setting)

        def malloc_trim(self, pad):
            calls.append("given back")

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    with pytest.raises(ValueError), memory.kept():
        assert calls == [(memory.MMAP, memory.KEPT), (memory.TRIM, memory.KEPT), "given back"]
        raise ValueError
    assert calls[3:] == [*memory.USUAL.items(), "given back"]
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())  # another C library
    with memory.kept():
        pass
