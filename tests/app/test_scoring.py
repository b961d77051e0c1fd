"""Scoring a run: which features, beside which controls, in JSON and as a table."""

from __future__ import annotations

import io
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "interpret"))

from chat_server import Reply, serving
from score_world import PLANTED, world

from monoscope import folder
from monoscope.app import cli, scoring, scoring_table
from monoscope.app.plan import Plan
from monoscope.app.run import Run
from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.records import Label
from monoscope.errors import MonoscopeError
from monoscope.interpret.judges import Claim, Judge
from monoscope.interpret.judges.concept import Concepts

JUDGED = ["detection", "fuzzing", "simulation"]


def label(feature: int, concept: str) -> Label:
    f1 = 0.9 - feature / 10
    return Label(feature, "context", concept, f"in words: {concept}", 0.1, f1, f1, f1, f1, f1, 0.2, 80, 14)


@pytest.fixture(scope="module")
def folder_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of planted features that are labelled with the truth, and a control whose labels are of others."""
    path = tmp_path_factory.mktemp("run")
    made = world(path)
    plan = Plan("tiny", "", "mlp_act.0", "files:none", {}, "topk", len(made), 5, 1, 0, "float32")
    folder.write_json(path / "plan.json", asdict(plan))
    control = path / "controls" / "random_model"
    shutil.copytree(path / "catalogue", control / "catalogue")
    shutil.copy(path / "catalogue.sqlite", control)
    made.write_labels([label(i, e) for i, e in enumerate(PLANTED)])
    other = Run(path)
    with scoring.Catalogue(control, store=other.store) as shuffled:
        shuffled.write_labels([label(i, PLANTED[i - 1]) for i in range(len(PLANTED))])
    return path


def judges(run: Run) -> dict[str, Judge]:
    return {"": Concepts(run.store)}


@pytest.fixture
def run(folder_of_run: Path, tmp_path: Path) -> Run:
    shutil.copytree(folder_of_run, tmp_path / "run")
    return Run(tmp_path / "run")


def test_every_value_has_its_controls(run: Run) -> None:
    found = scoring.score(run, JUDGED, "concepts", scoring.Chosen(), judges(run))
    assert [row.scorer for row in found.rows] == JUDGED and len(found.scores) == 3 * len(PLANTED)
    for row in found.rows:
        assert set(row.controls) == {"shuffled", "unigram", "always_no", "always_yes", "random_model"}
        for name in ("shuffled", "random_model", "always_no", "always_yes"):
            assert row.controls[name].value is not None and row.own.value > row.controls[name].value
        assert row.features == len(PLANTED) and row.unanswered == 0 and row.own.low <= row.own.value <= row.own.high
    stream = io.StringIO()
    scoring_table.print_scored(found, Console(file=stream, width=100))
    shown = stream.getvalue()
    assert all(word in shown for word in (*JUDGED, "shuffled", "unigram", "random model", "chance", "1.000"))
    json.dumps(found.to_json(), allow_nan=False)


def test_interrupted_scoring_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from monoscope.interpret import scoring as core

    monkeypatch.setattr(core, "BATCH", 2)
    asked: list[int] = []
    monkeypatch.setattr(core._Marker, "scores", _counting(core._Marker.scores, asked, stop_at=2))
    with pytest.raises(KeyboardInterrupt):
        scoring.score(run, ["detection"], "concepts", scoring.Chosen(), judges(run))
    assert len(run.catalogue.scores()) == 2
    asked.clear()
    monkeypatch.undo()
    monkeypatch.setattr(core._Marker, "scores", _counting(core._Marker.scores, asked, stop_at=None))
    found = scoring.score(run, ["detection"], "concepts", scoring.Chosen(), judges(run))
    assert sum(asked) == 4 + len(PLANTED)  # what was left, and the control's
    assert len(found.scores) == len(PLANTED)
    asked.clear()
    assert scoring.score(run, ["detection"], "concepts", scoring.Chosen(), judges(run)) == found and not asked


def _counting(scores, asked, stop_at):
    def counted(self, given):
        if stop_at is not None and sum(asked) >= stop_at:
            raise KeyboardInterrupt
        asked.append(len(given))
        return scores(self, given)

    return counted


def test_features_are_named_or_the_best_or_drawn(run: Run) -> None:
    given = scoring.scoring.explanations(run.catalogue)
    features = lambda **how: [e.feature for e in scoring.Chosen(**how).of(run.catalogue, given, 0)]  # noqa: E731
    assert features(features=(4, 1)) == [4, 1]
    assert features(best=2) == [0, 1]
    assert features(sample=3) == features(sample=3) and len(set(features(sample=3))) == 3
    assert features() == list(range(len(PLANTED)))
    with pytest.raises(MonoscopeError, match="feature 40 has no explanation"):
        features(features=(40,))


def test_on_the_command_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["score", str(run.path), "--scorer", "detection,fuzzing", "--features", "0,2", "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scorers"]["detection"]["value"] == 1 and found["scorers"]["detection"]["features"] == 2
    assert [(f["id"], f["scorer"]) for f in found["features"]] == [
        (i, s) for s in ("detection", "fuzzing") for i in (0, 2)
    ]


def test_words_on_what_is_promoted_alone_are_not_judged_by_what_it_fires_on(run: Run) -> None:
    said = Explanation(2, "promoted", "", "digits alone", {"promotes_concept": "digits"})
    run.catalogue.write_explanations([said])
    with pytest.raises(MonoscopeError, match="detection cannot be had: the explanations do not say what it asks about"):
        scoring.score(run, ["detection"], "promoted", scoring.Chosen(), judges(run))
    with pytest.raises(MonoscopeError, match="hold no concept that can be run"):
        scoring.score(run, ["detection"], "promoted", scoring.Chosen(), {"": Useless(run.store)})


class Useless(Concepts):
    """A judge that can use no explanation."""

    def fits(self, claim: Claim) -> bool:
        return False


def asks(run: Run, server, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[dict, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main([
            "score", str(run.path), "--scorer", "detection", "--features", "2,4", "--explainer", "language_model:small",
            "--url", server.url, "--model", "small", "--json", *flags,
        ])  # fmt: skip
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    return json.loads(told.out), told.err


def test_a_server_judges_what_an_explainer_wrote(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    words = {2: "digits", 4: "the letters r and t"}
    run.catalogue.write_explanations([Explanation(f, "language_model:small", w) for f, w in words.items()])
    run.catalogue.close()

    def judge(number: int, body: dict) -> Reply:
        asked = body["messages"][-1]["content"]
        found = str.isdigit if "active on: digits" in asked else lambda c: c in "rt"
        texts = [json.loads(line.split(": ", 1)[1]) for line in asked.splitlines() if line.startswith("Text ")]
        return Reply(json.dumps({"answers": [int(any(map(found, text))) for text in texts]}), tokens=(100, 9))

    with serving(judge) as server:
        few, said = asks(run, server, capsys, "--budget-tokens", "2000")
        assert few["scorers"]["detection"]["unanswered"] > 0 and "asking stopped" in said
        paid = len(server.asked)
        found, said = asks(run, server, capsys)
        assert found["scorers"]["detection"]["value"] == 1 and found["scorers"]["detection"]["unanswered"] == 0
        assert found["scorers"]["detection"]["controls"]["shuffled"]["value"] < 1 and "tokens of prompts" in said
        total = len(server.asked)
        assert 0 < paid < total == len({json.dumps(body) for body in server.asked})  # nothing was asked twice
        assert asks(run, server, capsys)[0] == found and len(server.asked) == total
    assert all(f["judge"] == "language model small" for f in found["features"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--scorer", "detecton"], "did you mean 'detection'"),
        (["--features", "a"], "no feature's number"),
        (["--explainer", "nobody"], "no feature has an explanation by 'nobody'"),
        (["--url", "http://127.0.0.1:9"], "no model is named to ask"),
        (["--embedding", "/nowhere"], "no sentence-embedding model"),
        (["--above", "1.5"], "no share of a maximum"),
    ],
)
def test_what_cannot_be_is_said(run: Run, capsys: pytest.CaptureFixture[str], flags: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["score", str(run.path), *flags])
    assert ended.value.code == 2 and said in " ".join(capsys.readouterr().err.split())
