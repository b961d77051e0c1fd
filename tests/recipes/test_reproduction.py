"""The bars: each sub-command runs at toy size, and only once; verdicts follow from numbers that are made up here."""

from __future__ import annotations

import json
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
import reproduction  # isort: skip
from bars import bar_07, bar_08, bar_09, bar_10, bar_11, bar_12, bar_18, bar_20  # isort: skip
from bars import _rarest  # isort: skip
from bars._lab import APRIL, FASTEST, PATH, TM, Lab, Settings, batch_size, digest, scaled  # isort: skip
from bars._outcome import FAILS, HOLDS, NOT_COMPARABLE, Line, Outcome  # isort: skip

from monoscope import plugins
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.evaluate import Estimate
from monoscope.train import presets
from monoscope.train.trainee import Normalising

SETTINGS = Settings(tokens=4000, judged=2000, features=32, seeds=1)
BARS = {"bar_07", "bar_08", "bar_09", "bar_10", "bar_11", "bar_12", "bar_18", "bar_20"}


def e(value: float, reach: float = 0.0) -> dict[str, float]:
    """An estimate as it is written."""
    return Estimate(value, value - reach, value + reach).to_json()


def run(settings: Settings, *words: str) -> None:
    options = [f"--{name}={value}" for name, value in asdict(settings).items()]
    with pytest.raises(SystemExit) as left:
        reproduction.app([*words, *options], exit_on_error=False)
    assert left.value.code == 0


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Settings:
    """The text is eighty documents of words in a random order, no two alike."""
    folder, generator = tmp_path_factory.mktemp("text"), random.Random(0)
    words = "def class return import self value of the list name count index".split()
    for i in range(80):
        (folder / f"{i:02d}.txt").write_text(" ".join(generator.choices(words, k=250)) + f" {i}")
    return replace(SETTINGS, text=f"files:{folder}/*.txt")


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """One folder, so that text is read and activations are harvested once."""
    return tmp_path_factory.mktemp("reproduction")


@pytest.mark.parametrize("name", sorted(BARS))
def test_each_sub_command_measures_judges_and_writes(name, out, toy, capsys):
    bar = plugins.load("bars", name)
    run(toy, reproduction.label(name).replace(" ", "-"), "--out", str(out))
    written = json.loads((out / f"{name}.json").read_text())
    assert written["verdict"] in (HOLDS, FAILS, NOT_COMPARABLE)
    assert written["verdict"] == bar.judge(written["measured"]).verdict
    assert written["settings"]["tokens"] == SETTINGS.tokens
    shown = capsys.readouterr().out
    assert bar.TITLE in shown and written["verdict"] in shown


def test_the_exact_bars_hold_at_any_size(out, toy):
    """Toy trainings say nothing about the others."""
    for bar in (bar_18, bar_20):
        assert bar.judge(bar.measure(Lab(out, toy))).verdict == HOLDS


def test_what_was_measured_is_not_measured_again(out, toy, capsys, monkeypatch):
    run(toy, "all", "--out", str(out))
    before = (out / "bar_12.json").read_text()
    capsys.readouterr()

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    for name in BARS:
        monkeypatch.setattr(plugins.load("bars", name), "measure", never)
    run(toy, "all", "--out", str(out))
    assert (out / "bar_12.json").read_text() == before
    assert capsys.readouterr().out.count("bar 12") == 2  # its own table, and that of all verdicts
    monkeypatch.setattr(bar_12, "measure", lambda lab: {**json.loads(before)["measured"], "judged": 1})
    run(toy, "bar-12", "--out", str(out), "--again")
    assert json.loads((out / "bar_12.json").read_text())["measured"]["judged"] == 1


def test_a_dictionary_is_trained_once(out, toy, monkeypatch):
    lab = Lab(out, toy)
    recipe = scaled(SETTINGS, TM, 32)
    made = lab.model("reference-a").dictionaries(TM, {"a": recipe})["a"]
    monkeypatch.setattr("bars._lab.train", None)  # any training would fail
    again = lab.model("reference-a").dictionaries(TM, {"b": recipe})["b"]
    assert isinstance(again, Dictionary) and (again.w_enc == made.w_enc).all()
    assert digest(recipe) != digest(scaled(SETTINGS, TM, 32, seed=1))


def test_a_stopped_training_goes_on_even_after_another_was_made(out, toy, monkeypatch):
    model = Lab(out, toy).model("reference-a")
    assert sum(model.source.counts) >= SETTINGS.tokens  # harvested before anybody listens
    told: list[int] = []

    @contextmanager
    def bar(*_: object, **__: object) -> Iterator[Callable[..., None]]:
        def report(done: int, note: str = "") -> None:
            told.append(done)
            if len(told) == 5:
                signal.raise_signal(signal.SIGINT)

        yield report

    monkeypatch.setattr("bars._lab.progress.bar", bar)
    stopped, other = ({"a": scaled(SETTINGS, TM, 32, seed=seed)} for seed in (5, 6))
    with pytest.raises(KeyboardInterrupt):
        model.dictionaries(TM, stopped)
    done = sum(told)
    assert 0 < done < SETTINGS.tokens
    model.dictionaries(TM, other)
    del told[:]
    told += [0] * 5
    model.dictionaries(TM, stopped)
    assert told[5] == done and sum(told) <= SETTINGS.tokens  # what had been seen, and the rest
    assert not any((model.path / "training").iterdir())


def test_a_folder_of_other_settings_is_refused(out, toy):
    Lab(out, toy)
    with pytest.raises(MonoscopeError, match="another number of tokens"):
        Lab(out, replace(toy, tokens=9000))
    with pytest.raises(MonoscopeError, match="another text"):
        Lab(out, replace(toy, text="python_source"))


def test_rows_are_not_read_twice_in_silence(tmp_path, toy):
    lab = Lab(tmp_path, replace(toy, tokens=1_000_000))
    with pytest.raises(MonoscopeError, match="activations of 1,000,000"):
        lab.model("reference-a").data(TM)


def test_the_folder_lists_the_bars():
    assert set(plugins.names("bars")) == BARS


def test_a_scaled_recipe_is_the_preset_but_for_its_rate_its_times_and_its_beginning():
    found, published = scaled(SETTINGS, APRIL, 64), presets.recipe(APRIL, 64)
    begun = {"loss_per": "number", "decoder_scale": 1.0, "encoder_scale": None}
    assert {k: v for k, v in found.options.items() if published.options[k] != v} == begun
    found, published = scaled(SETTINGS, TM, 64), presets.recipe(TM, 64)
    assert {k: v for k, v in found.options.items() if published.options[k] != v} == {
        "resample_at": (0.25, 0.5, 0.75),
        "sample": 512,
        "clip": 1.0,
    }
    assert found.normalising == Normalising()


def test_the_rate_goes_as_far_as_the_replication_whatever_the_length():
    for tokens in (1_000_000, 8_000_000):
        settings = Settings(tokens)
        rate = scaled(settings, TM, 64).schedule.rate
        assert rate * (tokens // batch_size(settings, TM)) == pytest.approx(PATH)
    assert scaled(SETTINGS, TM, 64).schedule.rate == FASTEST


def test_a_verdict_needs_every_judged_line_and_at_least_one():
    right, wrong, shown = (Line("", "", "", "", x) for x in (True, False, None))
    assert Outcome((right, shown)).verdict == HOLDS
    assert Outcome((right, wrong)).verdict == FAILS
    assert Outcome((shown,)).verdict == Outcome(()).verdict == Outcome((right,), "too few").verdict == NOT_COMPARABLE


def size(**changes: float | None) -> dict[str, object]:
    numbers = {"dead_fraction": 0.1, "ultra_rare_fraction": 0.1, "over_neurons": 0.05}
    shown = {"l0": 20.0, "fvu": 0.2, "loss_recovered_zero": 0.8, "loss_recovered_mean": 0.7, "neurons": 0.75}
    numbers = numbers | shown | changes
    nothing = Estimate().to_json()
    return {name: nothing if x is None else e(x, 0.01) for name, x in numbers.items()} | {"features": 4096}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, HOLDS),
        ({"dead_fraction": 0.3}, FAILS),
        ({"ultra_rare_fraction": 0.3}, FAILS),
        ({"over_neurons": 0.005}, FAILS),  # not clear of 0
        ({"loss_recovered_zero": 0.1}, HOLDS),  # the share itself is no gate
        ({"ultra_rare_fraction": None}, NOT_COMPARABLE),
    ],
)
def test_bar_7(changes, verdict):
    assert bar_07.judge(size(**changes)).verdict == verdict


@pytest.mark.parametrize(
    ("dead", "rare", "verdict"),
    [(0.07, 0.05, HOLDS), (0.3, 0.05, FAILS), (0.07, 0.2, FAILS), (0.2, 0.125, FAILS), (1.0, 0.0, FAILS)],
)
def test_bar_8(dead, rare, verdict):
    """An eighth of all is more than 15 % of the living when a fifth is dead."""
    assert bar_08.judge({"dead_fraction": e(dead), "ultra_rare_fraction": e(rare)}).verdict == verdict


def resampled(*dead: tuple[float, float, float]) -> dict[str, object]:
    seeds = []
    for one in dead:
        by = dict(zip(bar_09.ARMS, one, strict=True))
        less = {arm: e(by[bar_09.MIDDLE] - x) for arm, x in by.items() if arm != bar_09.MIDDLE}
        seeds.append({"dead": {arm: e(x) for arm, x in by.items()}, "middle_less": less})
    return {"features": 1000, "seeds": seeds}


def test_bar_9():
    assert bar_09.judge(resampled((0.9, 0.8, 0.5), (0.8, 0.7, 0.1))).verdict == HOLDS
    assert bar_09.judge(resampled((0.9, 0.8, 0.5), (0.7, 0.8, 0.1))).verdict == FAILS
    assert bar_09.judge(resampled((0.9, 0.4, 0.5))).verdict == FAILS
    assert bar_09.judge(resampled((0.04, 0.03, 0.0))).verdict == NOT_COMPARABLE
    lines = {line.what: line.found for line in bar_09.judge(resampled((0.9, 0.8, 0.5))).lines}
    assert lines["alive of 1,000, seed 0"] == "100, 200, 500"
    assert lines["… random weights over none"].startswith("100 ")
    assert lines["… 2023 recipe over random weights"].startswith("300 ")


def penalties(**steps: tuple[float, float]) -> dict[str, object]:
    right = {"l0": (-40.0, -10.0), "fvu": (0.05, 0.05), "loss_recovered_zero": (-0.02, -0.05)} | steps
    names = (*right, "loss_recovered_mean", "dead_fraction")
    at = {weight: {name: e(1.0) for name in names} for weight in ("2", "5", "10")}
    labels = ("2 to 5", "5 to 10")
    return {"at": at, "steps": {s: {n: e(x[i], 0.01) for n, x in right.items()} for i, s in enumerate(labels)}}


@pytest.mark.parametrize("bar", [bar_10, bar_11])
def test_bars_10_and_11(bar):
    assert bar.judge(penalties()).verdict == HOLDS
    assert bar.judge(penalties(l0=(-40.0, 1.0))).verdict == FAILS
    assert bar.judge(penalties(fvu=(0.05, -0.05))).verdict == FAILS
    assert bar.judge(penalties(loss_recovered_zero=(-0.02, -0.005))).verdict == FAILS  # not clear of 0


def ladder(recovered: list[float], rarest: list[float | None], ends: tuple[float, float]) -> dict[str, object]:
    at = {}
    for n, (a, b) in enumerate(zip(recovered, rarest, strict=True)):
        others = {name: e(0.1) for name in ("l0", "fvu", "dead_fraction")}
        at[str(n)] = others | {
            "loss_recovered_zero": e(a),
            "rarest": Estimate().to_json() if b is None else e(b),
        }
    return {
        "widths": list(range(len(recovered))),
        "at": at,
        "ends": {"loss_recovered_zero": e(ends[0], 0.01), "rarest": e(ends[1], 0.01)},
    }


def test_bar_12():
    assert bar_12.judge(ladder([0.6, 0.7, 0.8], [-3, -4, -5], (0.2, -2))).verdict == HOLDS
    assert bar_12.judge(ladder([0.6, 0.8, 0.7], [-3, -4, -5], (0.1, -2))).verdict == FAILS
    assert bar_12.judge(ladder([0.6, 0.7, 0.8], [-3, -5, -4], (0.2, -1))).verdict == FAILS
    assert bar_12.judge(ladder([0.6, 0.601, 0.602], [-3, -4, -5], (0.002, -2))).verdict == FAILS  # within noise
    assert bar_12.judge(ladder([0.6, 0.7, 0.8], [-3, None, -5], (0.2, -2))).verdict == NOT_COMPARABLE


def test_bar_18():
    resampled = {"features": 9, "decoder": 1e-7, "encoder": 1e-7, "same": 1e-7, "bias": 0.0, "moments": 0.0}
    found = {"norm": 1e-7, "along": 1e-7, "removed": 0.5, "steps": 48, "d": 512, "buried": 5, "resampled": resampled}
    assert bar_18.judge(found).verdict == HOLDS
    for name in ("norm", "along"):
        assert bar_18.judge(found | {name: 1e-3}).verdict == FAILS
    for name, value in (("decoder", 1e-3), ("encoder", 1e-3), ("same", 1e-3), ("bias", 1e-9), ("moments", 1e-9)):
        assert bar_18.judge(found | {"resampled": resampled | {name: value}}).verdict == FAILS
    assert bar_18.judge(found | {"resampled": resampled | {"features": 4}}).verdict == FAILS
    assert bar_18.judge(found | {"resampled": {}}).verdict == FAILS


def test_bar_20():
    found = {"norms": [0.8, 1.1], "folded": 1e-7, "d": 512, "fp32": 0.1, "fp64": 0.0}
    assert bar_20.judge(found).verdict == HOLDS
    assert bar_20.judge(found | {"fp32": 1.5}).verdict == FAILS
    assert bar_20.judge(found | {"folded": 0.1}).verdict == FAILS
    assert bar_20.judge(found | {"norms": [1.0, 1.0]}).verdict == NOT_COMPARABLE


def test_the_rarest_are_those_a_twentieth_of_the_living_stay_below():
    import numpy as np

    counts = np.concatenate([np.zeros(50), np.arange(1, 102)])  # of 101 living, the sixth
    assert _rarest.quantile(counts, 1000.0) == pytest.approx(np.log10(6 / 1000))
    assert np.isnan(_rarest.quantile(np.zeros(3), 10.0))
    assert _rarest.jackknife(-2.0, np.array([-2.0, np.nan])) == Estimate()
    found = _rarest.jackknife(-2.0, np.array([-2.1, -1.9, -2.0, -2.0, -2.1, -1.9, -2.0]))
    assert found.low < -2.0 < found.high < -1.5
