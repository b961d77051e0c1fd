"""``monoscope train``: a grid in one pass, skip transcoders, presets, and what goes into the plan."""

from __future__ import annotations

import email
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import monoscope as ms
from monoscope import folder
from monoscope.app import choice, cli, comparison, plan, stages
from monoscope.app.run import Run
from monoscope.errors import MonoscopeError
from monoscope.models import load_model
from monoscope.train.fit import Recipe

SIZES = ["--features", "16", "--k", "4", "--batch-size", "500"]
SWEPT = ["--features", "16", "--batch-size", "500"]  # with its own k


def call(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    assert exit_.value.code == 0


@pytest.fixture(scope="module")
def acts(tmp_path_factory) -> str:
    """A small harvest of two sites."""
    out = tmp_path_factory.mktemp("train") / "acts"
    for number, path in enumerate(sorted(Path(email.__file__).parent.glob("*.py"))):
        lines = path.read_text().splitlines(keepends=True)
        for first in range(0, len(lines), 60):  # short documents, so that a small budget is met
            (out.parent / f"{number}_{first}.py").write_text("".join(lines[first : first + 60]))
    text = ["--text", f"files:{out.parent}/*.py", "--tokens", "2000"]
    call("harvest", "reference-a", "--site", "mlp_act.0,mlp_out.0", *text, "--out", str(out))
    return str(out)


def alike(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_grid_in_one_pass_equals_trainings_one_by_one(acts, tmp_path, monkeypatch):
    passes = []
    monkeypatch.setattr(stages, "train", lambda *a, _train=stages.train, **k: passes.append(1) or _train(*a, **k))
    grid = ["train", acts, *SWEPT, "--sweep", "k=2,4", "--sweep", "rate=0.001,0.002", "--out", str(tmp_path / "grid")]
    call(*grid)
    assert len(passes) == 1
    folders = sorted((tmp_path / "grid/sweep").iterdir())
    assert [f.name for f in folders] == [f"k={k},rate={rate}" for k in (2, 4) for rate in ("0.001", "0.002")]
    call("train", acts, *SIZES, "--option", "rate=0.001", "--out", str(tmp_path / "one"))
    one = ms.load(tmp_path / "one")
    assert '"frozen_decoder": {"mse"' in (tmp_path / "one/log.jsonl").read_text().splitlines()[-1]
    assert folders[0].name in (tmp_path / "grid/log.jsonl").read_text().splitlines()[-1]
    assert [alike(ms.load(f), one) for f in folders] == [False, False, True, False]
    assert Run(folders[2]).store.tokens_in(plan.TEST) > 0  # each is a run's folder
    shutil.rmtree(folders[0] / "dictionary")  # as after a stop between two saves
    call(*grid)
    assert len(passes) == 3
    assert ms.load(folders[0]).options() == {"k": 2}
    call(*grid)
    assert len(passes) == 3  # all is there
    call(
        "train",
        acts,
        *SWEPT,
        "--sweep",
        "k=3,4",
        "--option",
        "rate=0.001",
        "--controls",
        "--out",
        str(tmp_path / "both"),
    )
    found = stages.controls_of(Run(tmp_path / "both/sweep/4"))
    assert list(found) == ["frozen_decoder"] and len(passes) == 4
    assert alike(ms.load(found["frozen_decoder"]), ms.load(tmp_path / "one/controls/frozen_decoder"))


@pytest.fixture
def passes(monkeypatch) -> list[list[str]]:
    """The dictionaries that each training trains, which is saved at every step."""
    found, train = [], stages.train

    def noted(data, trainees, *, keeping, **k):
        found.append(sorted(trainees))
        return train(data, trainees, keeping=replace(keeping, every_seconds=0), **k)

    monkeypatch.setattr(stages, "train", noted)
    return found


def test_a_point_that_is_added_to_a_sweep_is_trained_alone_as_in_one_pass(acts, tmp_path, passes, capsys):
    def grid(values: str, out: str, *more: str) -> list[str]:
        return ["train", acts, *SWEPT, "--sweep", f"k={values}", "--out", str(tmp_path / out), *more]

    call(*grid("2,3,4", "whole"))
    call(*grid("2,4", "grown"))
    grown = tmp_path / "grown"
    before = {path: path.read_bytes() for path in grown.rglob("*") if path.is_file()}
    call(*grid("2,3,4", "grown"))
    assert passes == [["2", "3", "4"], ["2", "4"], ["3"]]
    assert all(path.read_bytes() == content for path, content in before.items())  # the log of the first pass too
    assert alike(ms.load(grown / "sweep/3"), ms.load(tmp_path / "whole/sweep/3"))
    lines = [json.loads(line) for line in (grown / "sweep/3/log.jsonl").read_text().splitlines()]
    together = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert lines == [{"tokens": line["tokens"], "3": line["3"]} for line in together]
    call(*grid("2,3,4", "grown"))
    assert len(passes) == 3
    for other in (["--seed", "1"], ["--option", "rate=1"], ["--target", "mlp_out.0"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(grid("2,5", "grown", *other))
        assert exit_.value.code == 2 and "holds a run with another" in capsys.readouterr().err
    assert len(passes) == 3 and not (grown / "sweep/5").exists()


def test_a_sweep_that_stopped_between_two_saves_goes_on_with_its_pass(acts, tmp_path, passes, monkeypatch):
    grid = ["train", acts, *SWEPT, "--sweep", "k=2,4", "--out", str(tmp_path / "grid")]
    save, saved = stages.io.save, []

    def stopped(made, path):
        if saved:
            raise KeyboardInterrupt
        saved.append(path)
        save(made, path)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(stages.io, "save", stopped)
        cli.main(grid)
    log = (tmp_path / "grid/log.jsonl").read_text()
    call(*grid)
    assert passes == [["2", "4"]] * 2 and (tmp_path / "grid/log.jsonl").read_text() == log
    outs = {name: tmp_path / f"grid/sweep/{name}/dictionary" for name in ("2", "4")}
    assert all(map(folder.is_sealed, outs.values())) and not (tmp_path / "grid/training").exists()
    (tmp_path / "grid/training").mkdir()
    monkeypatch.setattr(stages.checkpoint, "facts_in", lambda path: {"plan": {"trains": ["2", "4"]}})
    new = {"3": tmp_path / "grid/sweep/3/dictionary"}
    assert stages.unfinished(tmp_path / "grid/training", outs | new) == new  # all that began there was saved
    assert not (tmp_path / "grid/training").exists()


def test_a_preset_a_skip_map_and_a_file_reach_the_plan(acts, tmp_path):
    flags = tmp_path / "flags.toml"
    flags.write_text(f'source = "{acts}"\ntarget = "mlp_out.0"\nskip = true\nfeatures = 32\npreset = "april-2024"\n')
    call("train", "--config", str(flags), "--batch-size", "500", "--option", "penalty=3", "--out", str(tmp_path / "a"))
    found = plan.load(tmp_path / "a")
    assert (found.skip, found.batch_size, found.k, found.n_features) == (True, 500, 0, 32)
    recipe = found.recipe()
    assert (recipe.options["penalty"], recipe.options.get("l0"), recipe.schedule.rate) == (3.0, None, 5e-5)
    made = ms.load(tmp_path / "a")
    assert (made.architecture, made.d_out, made.w_skip is not None) == ("l1", 128, True)
    call("train", "--config", str(flags), "--batch-size", "500", "--option", "penalty=3", "--out", str(tmp_path / "a"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--skip"], "skip map of an autoencoder"),
        (["--architecture", "jumprelu", "--option", "form=stepp"], "did you mean 'step'"),
        (["--sweep", "kk=1,2"], "unknown option of batch_topk 'kk'"),
        (["--preset", "april"], "april_2024"),
        (["--sweep", "k=8,16", "--k", "4"], "k is set, and swept over"),
        (["--sweep", "batch-size=8", "--sweep", "rate=1,2", "--option", "rate=1"], "rate is set, and swept over"),
        (["--site", ""], "--site is given nothing"),
        (["--text", " "], "--text is given nothing"),
        (
            ["--architecture", "matching_pursuit", "--target", "mlp_out.0", "--option", "untied=false"],
            "only reconstruct",
        ),
        (["--k", "0"], "k"),
        (["--device", "cuda:99"], "'cuda:99' is not there"),
        (["--site", "mlp_in.0"], "holds no activations of mlp_in.0\n→ choose one of mlp_act.0, mlp_out.0"),
        (["--target", "mlp_in.0"], "holds no activations of mlp_in.0"),
        (["--tokens", "3000"], "is of the tokens 2000, not 3000"),
        (["--text", "held_out:python"], "not held_out:python"),
        (["--features", "0"], "n_features of batch_topk is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(acts, arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["train", acts, "--out", str(tmp_path / "run"), *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_harvest_that_was_stopped_or_is_of_other_weights_is_refused(acts, tmp_path, capsys):
    copy = tmp_path / "acts"
    shutil.copytree(acts, copy)
    facts = folder.read_json(copy / "harvest.json")
    folder.write_json(copy / "harvest.json", facts | {"fingerprint": "another"})
    with pytest.raises(SystemExit):
        cli.main(["train", str(copy), "--out", str(tmp_path / "run")])
    assert "with other weights" in capsys.readouterr().err
    folder.write_json(copy / "harvest.json", facts)
    (copy / "activations" / folder.MANIFEST).unlink()
    with pytest.raises(SystemExit):
        cli.main(["train", str(copy), "--out", str(tmp_path / "run")])
    assert "is not finished" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tokens", [0, -7])
def test_a_run_has_tokens(tokens):
    with pytest.raises(MonoscopeError, match=f"a training on {tokens} tokens"):
        plan.resolve(
            load_model("reference-a"), site=None, text=None, tokens=tokens, features=8, k=3, architecture="topk", seed=0
        )


@pytest.mark.parametrize("name", ["gated", "jumprelu", "l1", "l1_2023", "p_anneal"])
def test_a_penalty_that_is_named_without_a_k_stays_as_in_python(name):
    lm = load_model("reference-a")
    where = {"site": None, "target": None, "text": "held_out:python", "tokens": 5000}

    def recipe(point: choice.Choice):
        return plan.resolve(lm, **where, **point.arguments).recipe()

    told = choice.choose(architecture=name, options=["penalty=3"], features=64)
    python = Recipe.of(name, 64, penalty=3.0).options
    assert recipe(told).options == {**python, "precision": recipe(told).options["precision"]}
    (swept,) = choice.grid(choice.choose(architecture=name, features=64), ["penalty=3"]).values()
    assert recipe(swept) == recipe(told) and not recipe(told).calibrates
    both = choice.choose(architecture=name, options=["penalty=3"], features=64, k=8)
    assert (recipe(both).options["l0"], recipe(both).options["penalty"]) == (8, 3.0)
    assert recipe(choice.choose(architecture=name, features=64)).options["l0"] == 32


def test_options_survive_the_plan_as_they_were_typed(tmp_path):
    options = {"resample_at": (0.5, 0.75), "penalty": 1.0}
    arguments = {"site": None, "text": "held_out:python", "tokens": 5000, "features": 8, "k": 3, "seed": 0}
    lm = load_model("reference-a")
    made = plan.resolve(lm, architecture="l1_2023", options=options, **arguments)
    assert made.settle(tmp_path / "run") == plan.load(Path(tmp_path / "run")) == made
    assert made.recipe().options == {**options, "l0": 3, "precision": made.precision}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of a command that is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    assert exit_.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_harvest_goes_into_no_other_folder_and_a_run_is_no_harvest(acts, tmp_path, capsys):
    run = str(tmp_path / "run")
    call("train", acts, *SIZES, "--site", "mlp_act.0", "--out", run)
    told = refused(capsys, "harvest", "reference-a", "--site", "mlp_act.0", "--tokens", "1000", "--out", run)
    assert "holds files that are no harvest" in told and not (tmp_path / "run/harvest.json").exists()
    assert "is a run" in refused(capsys, "train", run, *SIZES, "--out", str(tmp_path / "again"))


def test_a_text_that_was_mistyped_leaves_the_folder_free(acts, tmp_path, capsys):
    texts = f"files:{Path(acts).parent}/*.py"
    harvested = ["harvest", "reference-a", "--site", "mlp_act.0", "--tokens", "2000", "--out", str(tmp_path / "a")]
    assert "no files" in refused(capsys, *harvested, "--text", "nothere.txt")
    call(*harvested, "--text", texts)
    assert "something else" in refused(capsys, *harvested, "--text", texts, "--seed", "1")
    sizes = [*SIZES, "--site", "mlp_act.0", "--tokens", "2000", "--out", str(tmp_path / "b")]
    assert "no files" in refused(capsys, "train", "reference-a", *sizes, "--text", "nothere.txt")
    call("train", "reference-a", *sizes, "--text", texts)
    assert "another text" in refused(capsys, "train", "reference-a", *sizes, "--text", f"{texts}*")


def test_a_folder_in_which_only_a_half_written_plan_was_left_is_free(acts, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/harvest.json.partial").write_text("{")
    (tmp_path / "b/plan.json.partial").write_text("{")
    texts = f"files:{Path(acts).parent}/*.py"
    call(
        "harvest",
        "reference-a",
        "--site",
        "mlp_act.0",
        "--tokens",
        "2000",
        "--out",
        str(tmp_path / "a"),
        "--text",
        texts,
    )
    call("train", acts, *SIZES, "--site", "mlp_act.0", "--out", str(tmp_path / "b"))


@pytest.mark.parametrize("holds", ["{}", "[]", "{"])
def test_a_harvest_that_does_not_say_what_it_is_of_is_refused(holds, tmp_path, capsys):
    (tmp_path / "harvest.json").write_text(holds)
    assert "harvest.json is damaged" in refused(capsys, "train", str(tmp_path), "--out", str(tmp_path / "run"))


def test_a_harvest_of_nothing_or_in_an_unknown_way_is_refused_first(tmp_path, capsys):
    harvested = ["harvest", "reference-a", "--site", "mlp_act.0", "--out", str(tmp_path / "a")]
    for tokens in ("0", "-5"):
        assert f"a harvest of {tokens} tokens" in refused(capsys, *harvested, "--tokens", tokens)
    assert "bf16 or int8" in refused(capsys, *harvested, "--tokens", "1000", "--stored", "fp16")
    assert not (tmp_path / "a").exists()


def test_a_place_that_cannot_be_written_is_found_before_anything_is_judged(acts, tmp_path, capsys, monkeypatch):
    run, file = str(tmp_path / "run"), tmp_path / "file"
    call("train", acts, *SIZES, "--site", "mlp_act.0", "--out", run)
    file.write_text("")
    monkeypatch.setattr(comparison, "compare", lambda *a: pytest.fail("it was judged"))
    for flags in (["--plots", str(file)], ["--saebench", str(file / "o.json")]):
        told = refused(capsys, "evaluate", run, *flags)
        assert "cannot write" in told and "choose another folder" in told and "free some space" not in told


def test_files_of_several_dictionaries_have_names_of_their_own(tmp_path):
    found = comparison._beside(tmp_path / "o.json", ["a/sweep/16", "b/sweep/16", "c/run"])
    assert [path.name for path in found.values()] == ["o-a-sweep-16.json", "o-b-sweep-16.json", "o-run.json"]
    assert comparison._beside(tmp_path / "o.json", ["a/16"]) == {"a/16": tmp_path / "o.json"}
