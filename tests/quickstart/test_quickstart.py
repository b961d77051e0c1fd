"""The main job, whole and small: every step, reuse, refusal, and what is left after being killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import monoscope as ms
from monoscope import folder
from monoscope.app import cli, stages
from monoscope.app.doctor import check_run
from monoscope.app.quickstart import quickstart
from monoscope.catalogue.searches import ways
from monoscope.text.corpora import python_source

SMALL = {"tokens": 8_000, "features": 128, "k": 8}


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    """Eighteen short Python files of the standard library."""
    out = tmp_path_factory.mktemp("code")
    chosen = (path for name, path in python_source.paths() if name.startswith("stdlib/") and name.count("/") == 1)
    for path in islice((path for path in chosen if 1500 < path.stat().st_size < 9000), 18):
        (out / path.name).write_bytes(path.read_bytes())
    return f"files:{out}/*.py"


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    quickstart(out, text=text, controls="full", **SMALL)
    return out


def test_a_run_holds_all_that_the_design_says(run):
    manifest = folder.unseal(run, "run")
    assert manifest["seed"] == 0
    for name in (
        "plan.json",
        "text",
        "dictionary",
        "evaluation.json",
        "catalogue.sqlite",
        "report.html",
        "labels.json",
        "log.jsonl",
    ):
        assert (run / name).exists(), name
    assert not (run / "activations").exists()
    assert check_run(run) == []


def test_the_evaluation_has_every_control_and_metric_with_its_interval(run):
    found = json.loads((run / "evaluation.json").read_text())
    assert set(found["controls"]) == {"random_model", "frozen_decoder", "pca", "neurons"}
    for metrics in (found["metrics"], *found["controls"].values()):
        for name in ("l0", "fvu", "loss_recovered_mean", "loss_recovered_zero", "dead_fraction"):
            if (
                name.startswith("loss_recovered")
                and metrics[name.replace("loss_recovered", "ce")]["value"] <= metrics["ce"]["value"]
            ):
                assert metrics[name] == {"value": None, "low": None, "high": None}  # ablation helps: random weights
            else:
                assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"], name


def test_the_public_face_opens_it(run):
    catalogue = ms.open_catalogue(run)
    assert len(catalogue.features["density"]) == 128
    assert catalogue[3].id == 3
    dictionary = ms.load(run)
    assert (dictionary.n_features, dictionary.provenance["site"]) == (128, "mlp_act.0")
    reading = ms.read(run, "def f(x):\n    return x\n")
    assert "".join(t["text"] for t in reading["tokens"]) == "def f(x):\n    return x\n"
    active = [len(t["features"]) for t in reading["tokens"]]
    assert 4 <= sum(active) / len(active) <= 16  # 8 on average over the text that it was calibrated on


def test_a_label_can_be_recomputed_from_the_public_face(run):
    """Anyone can check an F1: the concept's mask against the feature's activations on the test split."""
    import numpy as np

    catalogue = ms.open_catalogue(run)
    rows = catalogue.rows
    labelled = np.flatnonzero((catalogue.features["label_kind"] != "") & (catalogue.features["label_f1"] > 0.3))
    assert len(labelled)
    for feature in labelled[:5].tolist():
        label = catalogue[feature].label
        concept = ms.concept(label.concept)
        holds = np.concatenate([concept.mask(catalogue.store.document(int(d))) for d in rows.documents])
        active, values = catalogue.index.of(feature)
        test, fit = rows.in_split("test"), rows.in_split("fit")
        most = values[fit[active]].max()
        on = np.zeros(len(rows), bool)
        on[active[values > label.threshold * most]] = True
        hit = float((on & holds & test).sum())
        f1 = 2 * hit / float((on & test).sum() + (holds & test).sum())
        assert f1 == pytest.approx(label.f1, abs=1e-3)


def test_run_again_it_reuses_everything(run, text):
    before = {
        p: p.stat().st_mtime_ns for p in run.rglob("*") if p.suffix in (".safetensors", ".u32", ".f16", ".sqlite")
    }
    quickstart(run, text=text, controls="full", **SMALL)
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_folder_of_another_run_or_of_something_else_is_refused(run, text, tmp_path):
    with pytest.raises(ms.MonoscopeError, match="another k"):
        quickstart(run, text=text, **{**SMALL, "k": 9})
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ms.MonoscopeError, match="no run of Monoscope"):
        quickstart(tmp_path, text=text, **SMALL)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_text_that_was_mistyped_leaves_the_folder_free(text, tmp_path, monkeypatch):
    with pytest.raises(ms.MonoscopeError, match="there are no files"):
        quickstart(tmp_path, text=f"{text}x", **SMALL)
    monkeypatch.setattr(stages, "text", lambda run: pytest.fail(run.plan.text))
    with pytest.raises(pytest.fail.Exception, match=re.escape(text)):
        quickstart(tmp_path, text=text, **SMALL)


@pytest.mark.slow
def test_a_dictionary_trained_elsewhere_is_catalogued(run, text, tmp_path):
    made = quickstart(tmp_path / "adopted", text=text, dictionary=run / "dictionary", tokens=SMALL["tokens"])
    assert made.plan.n_features == 128
    assert (tmp_path / "adopted/report.html").is_file()
    with pytest.raises(ms.MonoscopeError, match=r"trained at mlp_act\.0"):
        quickstart(tmp_path / "wrong", text=text, dictionary=run / "dictionary", site="resid_post.0")


@pytest.mark.slow
def test_a_threshold_that_the_file_left_void_is_set_on_the_fit_split(run, text, tmp_path, capsys):
    given = ms.load(run)
    given.threshold.fill_(np.nan)
    given.save(tmp_path / "void", format="dictionary_learning")
    made = quickstart(
        tmp_path / "adopted", text=text, dictionary=tmp_path / "void", site="mlp_act.0", tokens=SMALL["tokens"]
    )
    assert "calibrated to 8 features a token" in capsys.readouterr().err
    assert made.dictionary.provenance["calibrated_on"]["text"] == text
    assert made.evaluation["metrics"]["l0"]["value"] == pytest.approx(8, rel=0.1)  # on other documents
    assert check_run(tmp_path / "adopted") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstart", "--model", "reference-z"], "reference-"),
        (["quickstart", "--site", "mlp_akt.0"], "mlp_act"),
        (["quickstart", "--text", "no/such/file.txt"], "no/such"),
        (["quickstart", "--controls", "all"], "basic, full"),
        (["quickstart", "--architecture", "topq"], "topk"),
        (["read", "no-such-run", "x"], "no-such-run"),
        (["ui", "no-such-run"], "no-such-run"),
    ],
)
def test_user_errors_exit_2_and_say_what_to_do(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "→" in shown


def test_verbs_answer_in_json(run, capsys):
    def answer(*arguments: str):
        with pytest.raises(SystemExit) as exit_:
            cli.main([*arguments, "--json"])
        assert exit_.value.code == 0
        return json.loads(capsys.readouterr().out)

    assert set(answer("read", str(run), "import os")["tokens"][0]) == {"text", "start", "end", "features"}
    assert set(answer("search", str(run), "python")["hits"][0]) == {"id", "label", "label_f1", "density", "score"}
    explained = answer("explain", str(run))["features"]
    assert {"kind", "concept", "threshold", "precision", "recall", "f1", "baseline_f1", "support"} <= set(explained[0])
    assert "fvu" in answer("evaluate", str(run))["metrics"]
    scores = answer("evaluate", str(run), "--concepts")["scores"]
    assert list(scores) == ["this dictionary", "random model", "linear probe"]
    assert {"coverage", "reconstruction", "auroc_1", "auroc_5", "f1_1", "f1_5"} == set(scores["random model"])
    assert scores["linear probe"]["auroc_1"]["value"] > scores["this dictionary"]["auroc_1"]["value"]


def test_a_feature_steers_and_its_doses_are_measured(run, tmp_path, capsys):
    def answer(*arguments: str):
        with pytest.raises(SystemExit) as exit_:
            cli.main(["steer", str(run), *arguments, "--tokens", "8", "--json"])
        assert exit_.value.code == 0
        return json.loads(capsys.readouterr().out)

    cat = ms.open_catalogue(run)
    feature = str(int(cat.features["density"].argmax()))
    saved = str(tmp_path / "r.toml")
    shown = answer("def f(", "--feature", feature, "--dose", "40", "--save", saved)
    assert shown["plain"] != shown["steered"][0]["text"]
    again = answer("def f(", "--recipe", saved)
    assert again["steered"][0]["text"] == shown["steered"][0]["text"]
    found = answer("--feature", feature, "--dose", "1,4", "--prompts", "3", "--tolerance", "9")
    names = [r["name"] for r in found["responses"]]
    assert names == ["plain", "prompt", *2 * ["feature", "random features", "difference of means"]]
    assert all(r["kl"]["value"] > 0 for r in found["responses"] if r["dose"])
    with pytest.raises(SystemExit) as exit_:
        cli.main(["steer", str(run), "--recipe", saved])
    assert exit_.value.code == cli.USER_ERROR and "no doses to compare" in capsys.readouterr().err


def test_every_way_to_search_answers_alike_in_the_terminal_in_python_and_in_the_pages(
    run, tmp_path, capsys, monkeypatch
):
    from starlette.testclient import TestClient

    from monoscope.app.ui.server import create_app
    from monoscope.catalogue import sentences

    monkeypatch.setattr(sentences, "PACKAGES", {})  # by geometry, which takes no minute
    cat = ms.open_catalogue(run)
    client = TestClient(create_app(cat, None), base_url="http://127.0.0.1")
    asked = {
        "words": "import", "meaning": "import", "text": "import os", "promoted": " return", "concept": "in_docstring",
        "feature": "3", "vector": str(tmp_path / "v.npy"),
    }  # fmt: skip
    np.save(tmp_path / "v.npy", cat.directions.rows[3] - cat.directions.rows[4])
    assert set(asked) == set(ways())
    for by, what in asked.items():
        extra = {"unlike": "y = 2"} if by == "text" else {}
        hits = [hit.id for hit in cat.find(what, by, limit=7, density=(0.0, 0.2), **extra)]
        flags = ["--not", "y = 2"] if by == "text" else []
        with pytest.raises(SystemExit) as ended:
            cli.main(["search", str(run), what, "--by", by, "--limit", "7", "--density", "..0.2", "--json", *flags])
        assert ended.value.code == 0
        found = json.loads(capsys.readouterr().out)["hits"]
        assert [hit["id"] for hit in found] == hits != [] and all(hit["density"] <= 0.2 for hit in found)
        page = client.get("/api/features", params={"q": what, "by": by, "max_density": 0.2, **extra})
        if by == "vector":
            assert page.status_code == 400
        else:
            assert [row["id"] for row in page.json()["rows"][:7]] == hits


@pytest.mark.slow
def test_explanations_are_scored_beside_every_control(run, capsys):
    def answer(*arguments: str):
        with pytest.raises(SystemExit) as end:
            cli.main(["score", str(run), "--json", *arguments])
        assert end.value.code == 0
        return json.loads(capsys.readouterr().out)

    paper = answer("--paper", "--sample", "4", "--controls", "full")
    assert set(paper["distributions"]) == {"features", "neurons", "frozen_decoder", "random_model"}
    assert paper == json.loads((run / "paper.json").read_text())
    found = answer("--sample", "2")
    assert {"detection", "fuzzing", "simulation", "logits", "causal"} <= set(found["scorers"])
    assert any(note.startswith("left out: embedding") for note in found["notes"])
    for scorer in found["scorers"].values():
        assert {"shuffled", "frozen_decoder", "random_model"} <= set(scorer["controls"])
    assert check_run(run) == []


def test_every_verb_explains_itself(capsys):
    from monoscope import plugins

    for verb in plugins.names(cli.VERBS):
        with pytest.raises(SystemExit) as exit_:
            cli.main([verb, "--help"])
        assert exit_.value.code == 0
        shown = capsys.readouterr().out
        assert f"monoscope {verb}" in shown
        assert "Example" in shown, verb


def test_the_list_of_verbs_says_what_each_is_for(capsys):
    from monoscope import plugins

    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for verb in plugins.names(cli.VERBS):
        first = " ".join(cli.said(verb).split("\n\n")[0].replace("`", "").split())
        assert first.endswith((".", "…")) and f"{verb} {first}" in shown, verb


@pytest.mark.slow
def test_harvest_then_train_equals_streaming(text, tmp_path, capsys):
    def call(*arguments: str) -> None:
        with pytest.raises(SystemExit) as exit_:
            cli.main(list(arguments))
        assert exit_.value.code == 0, capsys.readouterr().err

    sizes = ["--features", "64", "--k", "4"]
    call(
        "harvest",
        "reference-a",
        "--site",
        "mlp_act.0,mlp_out.0",
        "--text",
        text,
        "--tokens",
        "20000",
        "--out",
        str(tmp_path / "acts"),
    )
    call("train", str(tmp_path / "acts"), *sizes, "--out", str(tmp_path / "a"))
    call(
        "train",
        "reference-a",
        "--site",
        "mlp_act.0",
        "--text",
        text,
        "--tokens",
        "20000",
        *sizes,
        "--out",
        str(tmp_path / "b"),
    )
    mine, theirs = ms.load(tmp_path / "a"), ms.load(tmp_path / "b")
    assert all((x == y).all() for x, y in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True))
    call("train", str(tmp_path / "acts"), *sizes, "--target", "mlp_out.0", "--out", str(tmp_path / "t"))
    assert ms.load(tmp_path / "t").d_out == 128
    call("catalogue", str(tmp_path / "t"))


def start(text: str, out: Path) -> subprocess.Popen[bytes]:
    arguments = ["--text", text, "--tokens", "60000", "--features", "256", "--k", "8", "--no-serve", "--out", str(out)]
    command = [sys.executable, "-m", "monoscope", "quickstart", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)


@pytest.mark.slow
def test_stopped_at_any_moment_it_ends_with_the_same_weights(text, tmp_path):
    """``kill -9`` six and Ctrl-C three times at random moments, then once more: the bits of an undisturbed run."""
    began = time.monotonic()
    assert start(text, tmp_path / "undisturbed").wait() == 0
    took, rng = time.monotonic() - began, random.Random(0)
    stopped = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGINT: {130, -signal.SIGINT}}  # the latter while it imports
    stops = 0
    for number in [signal.SIGKILL] * 6 + [signal.SIGINT] * 3:
        process = start(text, tmp_path / "stopped")
        try:
            process.wait(rng.uniform(0.1, 0.5) * took)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            ended = process.wait()
            assert ended in stopped[number] | {0}  # 0: it came to its end just then
            stops += ended != 0
    assert stops  # or nothing was shown
    assert start(text, tmp_path / "stopped").wait() == 0
    weights = "dictionary/weights.safetensors"
    assert (tmp_path / "undisturbed" / weights).read_bytes() == (tmp_path / "stopped" / weights).read_bytes()
    assert check_run(tmp_path / "stopped") == []
