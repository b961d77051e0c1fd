"""`monoscope explain` with an explainer: what it prints, what it refuses, what it keeps."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "interpret"))

from chat_server import Chat, Reply, said, serving
from explained_world import catalogue

from monoscope import folder
from monoscope.app import cli
from monoscope.app.plan import Plan
from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue
from monoscope.text.store import TokenStore

Outcome = tuple[int, str, str]
LABEL = Label(9, "token", "token('e')", "`e`", 0.1, 0.5, 0.5, 0.5, 0.4, 0.6, 0.5, 60, 12)
FIELDS = "id kind concept threshold precision recall f1 f1_low f1_high baseline_f1 support".split()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "run"
    with catalogue(path) as made:
        made.write_labels([LABEL])
    plan = Plan("tiny", "", "mlp_act.0", "", {}, "topk", 48, 5, 64, 0, "fp32")
    folder.write_json(path / "plan.json", asdict(plan))
    return path


@pytest.fixture
def run(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shutil.copytree(built, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def explain(run: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*flags: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            cli.main(["explain", str(run), *flags])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), " ".join(out.split()), " ".join(err.split())

    return call


def server_flags(server: Chat) -> list[str]:
    return ["--explainer", "language_model", "--url", server.url, "--model", "small"]


def answer(number: int, body: dict[str, Any]) -> Reply:
    return Reply(said("promised" if "Promoted" in body["messages"][-1]["content"] else "tested"), tokens=(100, 5))


def test_explanations_are_asked_for_kept_and_printed(explain: Callable[..., Outcome], run: Path) -> None:
    prices = ["--price-in", "2", "--price-out", "10"]
    with serving(answer) as server:
        flags = [*server_flags(server), "--features", "9,4,9", "--promotes"]
        code, out, _ = explain(*flags, "--estimate", *prices)
        assert (
            code == 0 and out.startswith("4 questions: about") and "at most 640 of answers" in out and not server.asked
        )
        code, out, _ = explain(*flags, *prices)
        assert code == 0 and "9 tested · promotes promised" in out and "2 explained by language_model:small" in out
        assert "4 requests" in out and "400 tokens of prompts and 20 of answers; 0.0010 spent" in out
        code, out, _ = explain(*flags, "--json")
        told = json.loads(out)
        assert told["account"]["requests"] == 0 and len(server.asked) == 4
        code, out, _ = explain(*flags, "--redo", "--estimate", "--json")
        assert json.loads(out)["estimate"]["cached"] == 4
    assert [list(f) for f in told["features"]] == [FIELDS] and told["left"] == 0 and told["failures"] == []
    assert [(e["id"], e["explainer"], e["fires_on"], e["promotes"]) for e in told["explanations"]] == [
        (4, "language_model:small", "tested", "promised"), (9, "language_model:small", "tested", "promised"),
    ]  # fmt: skip
    with Catalogue(run) as opened:
        assert len(opened.explanations()) == 2 and all(e.detail["documents"] for e in opened.explanations())


def test_without_an_explainer_all_is_as_it_was(explain: Callable[..., Outcome], run: Path) -> None:
    folder.write_json(run / "labels.json", {"concepts": 1, "labels": {}, "shuffled": {}})  # labelled before
    assert explain("--explainer", "top_tokens", "--features", "9")[0] == 0
    code, out, _ = explain("--json")
    told = json.loads(out)
    assert code == 0 and [list(f) for f in told["features"]] == [FIELDS]
    assert [e["explainer"] for e in told["explanations"]] == ["top_tokens"]


def test_controls_are_explained_too_unless_features_are_named(explain: Callable[..., Outcome], run: Path) -> None:
    control = run / "controls" / "random_model"
    shutil.copytree(run / "catalogue", control / "catalogue")
    shutil.copy(run / "catalogue.sqlite", control)

    def explained() -> list[int]:
        with Catalogue(control, store=TokenStore(run / "text")) as opened:
            return [e.feature for e in opened.explanations()]

    assert explain("--explainer", "top_tokens", "--features", "9")[0] == 0 and explained() == []
    assert explain("--explainer", "top_tokens", "--best", "3")[0] == 0
    assert len(explained()) == 3


def test_a_budget_ends_the_work_and_the_same_command_goes_on(explain: Callable[..., Outcome]) -> None:
    with serving(lambda number, body: Reply(said("tested"), tokens=(900, 9))) as server:
        flags = [*server_flags(server), "--best", "12", "--concurrency", "2"]
        code, out, _ = explain(*flags, "--budget-tokens", "8000", "--json")
        told = json.loads(out)
        done = len(told["explanations"])
        assert code == 0 and 0 < done < 12 and told["left"] == 12 - done and len(server.asked) == done
        code, out, _ = explain(*flags, "--json")
        assert len(json.loads(out)["explanations"]) == 12 == len(server.asked)


def test_best_and_density_choose(explain: Callable[..., Outcome], run: Path) -> None:
    _, out, _ = explain("--explainer", "top_tokens", "--best", "1", "--json")
    assert [e["id"] for e in json.loads(out)["explanations"]] == [9]
    _, out, _ = explain("--explainer", "top_tokens", "--least-density", "0.1", "--most-density", "0.4", "--json")
    with Catalogue(run) as opened:
        density = opened.features["density"]
    assert [e["id"] for e in json.loads(out)["explanations"]] == [
        f for f in range(48) if 0.1 <= density[f] <= 0.4
    ]  # fmt: skip


ASK = ["--explainer", "language_model", "--url", "http://127.0.0.1:9/v1", "--model", "m"]
REFUSED = {
    "no other flag": ["--best", "3"],
    "unknown explainer 'langage_model'": ["--explainer", "langage_model"],
    "no model is named to ask": ["--explainer", "language_model"],
    "no model is named": ["--explainer", "language_model", "--url", "http://127.0.0.1:9/v1"],
    "means nothing beside --local": ["--explainer", "language_model", "--local", "reference-a", "--timeout", "3"],
    "--url means nothing with top_tokens": ["--explainer", "top_tokens", "--url", "http://127.0.0.1:9/v1"],
    "--again means nothing with top_tokens": ["--explainer", "top_tokens", "--again", "3"],
    "top_tokens asks no model, so it costs nothing": ["--explainer", "top_tokens", "--estimate"],
    "--best chooses features": ["--explainer", "top_tokens", "--best", "3", "--features", "1"],
    "'x' is no feature": ["--explainer", "top_tokens", "--features", "1,x"],
    "'48' is no feature": ["--explainer", "top_tokens", "--features", "48"],
    "--features names none": ["--explainer", "top_tokens", "--features", ","],
    "--best must be at least 1": ["--explainer", "top_tokens", "--best", "0"],
    "no feature is that dense": ["--explainer", "top_tokens", "--least-density", "0.9999"],
    "needs prices": [*ASK, "--budget-cost", "1"],
    "--again cannot be below 0": [*ASK, "--again", "-1"],
    "--retries cannot be below 0": [*ASK, "--retries", "-1"],
    "must be above 0": [*ASK, "--concurrency", "0"],
    "names is not set": [*ASK, "--key-variable", "SURELY_NOT_SET"],
    "no address": ["--explainer", "language_model", "--url", "example", "--model", "m"],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_makes_no_sense_is_refused_before_any_work(
    message: str, explain: Callable[..., Outcome], run: Path
) -> None:
    code, out, err = explain(*REFUSED[message])
    assert code == 2 and not out and message in err and "→" in err
    with Catalogue(run) as opened:
        assert opened.explanations() == []


def test_a_server_that_is_not_there_or_lets_no_one_in_is_an_error(explain: Callable[..., Outcome]) -> None:
    code, out, err = explain(*ASK, "--retries", "0", "--features", "4,9")
    assert code == 2 and "no connection" in err and "2 were not come to" in out
    with serving(lambda number, body: Reply(status=401, body=b'{"error": {"message": "who are you?"}}')) as server:
        code, _, err = explain(*server_flags(server), "--features", "4,9")
    assert code == 2 and "401: who are you?" in err


def test_no_file_of_the_run_holds_the_key(
    explain: Callable[..., Outcome], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "sk-not-a-real-key-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", secret)

    def script(number: int, body: dict[str, Any]) -> Reply:
        if number == 0:
            return Reply(status=422, body=f"bad {secret}".encode())
        return Reply(said(f"says {secret}"))

    with serving(script) as server:
        code, out, err = explain(*server_flags(server), "--features", "4,8,9,10", "--json")
        assert {h[b"authorization"] for h in server.headers} == {f"Bearer {secret}".encode()}
    assert code == 0 and "says [key]" in out and secret not in out + err
    for path in (p for p in run.rglob("*") if p.is_file()):
        data = path.read_bytes()
        assert secret.encode() not in data and server.url.encode() not in data, path


def test_a_model_on_this_machine_answers_or_says_why_not(explain: Callable[..., Outcome]) -> None:
    code, out, _ = explain("--explainer", "language_model", "--local", "reference-a", "--features", "9")
    assert code == 0 and "do not fit into 256" in out and "0 explained by language_model:reference-a" in out
