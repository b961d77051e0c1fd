"""What is typed about a dictionary: flags, presets, options, sweeps and files of flags."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope.app import choice, cli, quickstart
from monoscope.app.choice import Choice, choose, grid, point_name
from monoscope.app.verbs import quickstart as typed
from monoscope.dictionary.base import architectures
from monoscope.errors import MonoscopeError
from monoscope.train import presets
from monoscope.train.fit import Recipe


def test_options_take_the_type_of_their_default():
    made = choose(architecture="l1_2023", options=["penalty=1", "resample-at=0.5,0.75", "centred_resampling=false"])
    assert made.options == {"penalty": 1.0, "resample_at": (0.5, 0.75), "centred_resampling": False}
    assert isinstance(made.options["penalty"], float)
    made = choose(architecture="jumprelu", options=["penalty=2", "form=step", "dead_after=500"])
    assert made.options == {"penalty": 2.0, "form": "step", "dead_after": 500}
    assert choose(architecture="hierarchical_topk", options=["budgets=4,"]).options == {"budgets": (4.0,)}
    assert choose(architecture="matryoshka", options=["prefixes=0.5,1"]).options == {"prefixes": (0.5, 1.0)}


@pytest.mark.parametrize("name", architectures())
def test_every_option_of_every_architecture_can_be_typed(name):
    """Its default, as it is written into a file, is read back as itself."""
    for key, default in choice.options_of(name).items():
        if default in ("", (), None):
            continue
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        made = choose(architecture=name, options=[f"{key}={text}"])
        assert made.options == {key: default}
        Recipe.of(name, 8, **made.options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": ["penalty=3"]}, "unknown option of batch_topk 'penalty'"),
        ({"architecture": "l1", "options": ["penalti=3"]}, "did you mean 'penalty'"),
        ({"architecture": "l1", "options": ["penalty=much"]}, "penalty cannot be 'much'"),
        ({"architecture": "l1_2023", "options": ["centred_resampling=1"]}, "true or false"),
        ({"options": ["k=3"]}, "write --k 3"),
        ({"options": ["rate"]}, "no key=value"),
        ({"named": "april-2024", "architecture": "topk"}, "april-2024 trains l1"),
        ({"named": "april-2025"}, "did you mean 'april_2024'"),
    ],
)
def test_what_cannot_be_chosen_is_refused(arguments, message):
    with pytest.raises(MonoscopeError, match=message):
        choose(**arguments)


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_overridden_key_by_key(name):
    base = presets.preset(name)
    plain = choose(named=name)
    assert (plain.architecture, plain.batch_size, plain.options) == (base.architecture, base.batch_size, base.arguments)
    assert plain.k == (base.k or 0)
    made = choose(named=name, k=7, batch_size=64, options=["rate=0.5"])
    assert (made.k, made.batch_size, made.options) == (7, 64, {**base.arguments, "rate": 0.5})


def test_a_grid_holds_every_combination():
    found = grid(Choice("l1", k=32), ["k=4,8", "penalty=1,2.5"])
    assert list(found) == ["k=4,penalty=1", "k=4,penalty=2.5", "k=8,penalty=1", "k=8,penalty=2.5"]
    assert found["k=8,penalty=2.5"] == Choice("l1", k=8, options={"penalty": 2.5})
    assert list(grid(Choice(), ["architecture=topk,batch_topk"])) == ["topk", "batch_topk"]
    with pytest.raises(MonoscopeError, match="8 twice"):
        grid(Choice(), ["k=4,8,8"])
    mixed = grid(Choice(), ["auxk=0.5", "architecture=topk,batch_topk"])
    assert [c.architecture for c in mixed.values()] == ["topk", "batch_topk"]
    with pytest.raises(MonoscopeError, match="over twice"):
        grid(Choice(), ["k=1", "k=2"])
    with pytest.raises(MonoscopeError, match="k cannot be 'x'"):
        grid(Choice(), ["k=x"])
    with pytest.raises(MonoscopeError, match="unknown option"):
        grid(Choice(), ["architecture=topk,l1", "penalty=1"])


def bound(*arguments: str):
    """What the verb is called with; nothing is trained."""
    _, found, _ = cli.app().parse_args(["train", *arguments], exit_on_error=False, print_error=False)
    return found.arguments


def test_a_file_gives_flags_and_the_command_line_overrides_them(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(
        'source = "acts"\nout = "run"\nfeatures = 64\nk = 3\nskip = true\nbatch-size = 16\n'
        "[option]\nrate = 1e-3\nresample_at = [0.5, 0.75]\n[sweep]\nseed = [4, 8]\n"
    )
    found = bound("--config", str(path), "--k", "5")
    assert (found["source"], str(found["out"]), found["features"], found["k"]) == ("acts", "run", 64, 5)
    assert (found["skip"], found["batch_size"]) == (True, 16)
    assert list(found["option"]) == ["rate=0.001", "resample_at=0.5,0.75"]
    assert list(found["sweep"]) == ["seed=4,8"]
    path.write_text('option = ["rate=1", "decay=0"]\n')
    found = bound("acts", "--out", "run", "--config", str(path))
    assert list(found["option"]) == ["rate=1", "decay=0"]
    assert list(bound("acts", "--out", "run", "--option", "a=1", "--option", "b=2")["option"]) == ["a=1", "b=2"]


def test_what_is_typed_overrides_the_tables_of_a_file_key_by_key(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text('[option]\nform = "tanh"\nband-width = 2.0\nresample_at = []\n[sweep]\nk = [4, 8]\nrate = [1, 2]')
    found = bound("acts", "--config", str(path), "--out", "run", "--option", "band_width=1", "--sweep", "rate=3")
    assert sorted(found["option"]) == ["band_width=1", "form=tanh", "resample_at="]
    assert sorted(found["sweep"]) == ["k=4,8", "rate=3"]
    assert list(bound("acts", "--config", str(path), "--out", "run", "--k", "64")["sweep"]) == ["rate=1,2"]
    assert choose(architecture="topk", options=["resample_at="]).options == {"resample_at": ()}


@pytest.mark.parametrize("flag", ["--features", "--k", "--seed", "--tokens"])
def test_a_flag_that_counts_is_never_rounded(flag, tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(f"{flag.removeprefix('--')} = 7.5\n")
    for words in ([flag, "7.5"], [flag, "75e-1"], ["--config", str(path)]):
        with pytest.raises(MonoscopeError, match=rf"{flag} cannot be 7.*\n.*whole number"):
            bound("acts", "--out", "run", *words)
    assert bound("acts", "--out", "run", flag, "7.0")[flag.removeprefix("--")] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("featurs = 3", "did you mean 'features'"),
        ("features = ", "no TOML"),
        (None, "cannot be read"),
        ("batch_size = 3\nbatch-size = 4", "both batch_size and batch-size"),
        ("[option]\ndead-after = 3\ndead_after = 4", "both dead-after and dead_after"),
    ],
)
def test_a_file_that_is_wrong_is_refused_first(text, message, tmp_path, capsys):
    path = tmp_path / "train.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["train", "no-such-model", "--out", str(tmp_path / "run"), "--config", str(path)])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_help_lists_the_folders(capsys):
    for verb in ("train", "quickstart"):
        with pytest.raises(SystemExit):
            cli.main([verb, "--help"])
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert all(name in shown for name in architectures())
        assert verb != "train" or all(name in shown.replace("- ", "-") for name in presets.names())


@given(st.lists(st.text(st.characters(exclude_characters=","), min_size=1), min_size=1, max_size=3))
def test_names_of_points_are_names_of_folders(values):
    name = point_name(["key"] * len(values), values)
    assert "/" not in name and "\\" not in name and "\0" not in name
    assert name not in (".", "..") and not name.startswith(".")


def test_the_command_line_trains_the_default():
    assert choose().architecture == Choice().architecture == presets.preset("default").architecture
    for function in (quickstart.quickstart, typed.quickstart):
        assert inspect.signature(function).parameters["architecture"].default == Choice().architecture
