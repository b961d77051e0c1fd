"""What the verb wires together: recipes by name, rules, recordings, a run; and the examples of the documentation."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serve_live import TOKEN, Live, own_model
from serve_world import SITE, dictionary, edit, saved, some_rules

from monoscope.app.serving import Labels, Served, Watched, named_recipes, service
from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.edit import Recipe
from monoscope.watch import rules
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay
from monoscope.watch.rules import Act

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def written(folder: Path, name: str = "calm") -> str:
    where = saved(folder / "d", dictionary()) if not (folder / "d").exists() else str(folder / "d")
    recipes.save(Recipe((edit(where, 3, "add", 4.0),)), folder / f"{name}.toml")
    return str(folder / f"{name}.toml")


def test_recipes_are_named_by_their_files_or_otherwise(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert list(named_recipes([file, f"loud={file}"])) == ["calm", "loud"]
    with pytest.raises(MonoscopeError, match="two recipes are called 'calm'"):
        named_recipes([file, f"calm={file}"])
    with pytest.raises(MonoscopeError, match="is no recipe"):
        named_recipes([str(tmp_path / "nothing.toml")])


def test_what_does_not_belong_to_the_model_is_refused_at_start(tmp_path: Path) -> None:
    lm = own_model()
    run = SimpleNamespace(plan=SimpleNamespace(fingerprint="other", model="another", site=SITE), path=tmp_path)
    with pytest.raises(MonoscopeError, match="run of another model"):
        service(Served(lm, "model", run))  # type: ignore[arg-type]
    made = Recipe((edit(saved(tmp_path / "d", dictionary()), 3, "add", 4.0),), fingerprint="0" * 64)
    with pytest.raises(MonoscopeError, match="made for another model"):
        service(Served(lm, "model", recipes={"calm": made}))
    with pytest.raises(MonoscopeError, match="made for another model"):
        service(Served(lm, "model", watched=Watched(replace(some_rules(tmp_path), fingerprint="0" * 64))))
    logits = Recipe((replace(made.edits[0], site="logits"),))
    with pytest.raises(MonoscopeError, match="numbers"):
        service(Served(lm, "model", recipes={"calm": logits}))


def test_a_run_gives_features_and_their_labels() -> None:
    lm, made = own_model(), dictionary()
    catalogue = SimpleNamespace(features={"label": ["a", ""] * 32, "label_f1": [0.5, float("nan")] * 32})
    plan = SimpleNamespace(fingerprint=lm.fingerprint, model="reference-a", site=SITE)
    run: Any = SimpleNamespace(plan=plan, dictionary=made, catalogue=catalogue)
    found = service(Served(lm, "model", run))
    assert found.codes is not None and found.codes.n_features == 64 and isinstance(found.lexicon, Labels)
    assert found.lexicon[0] == {"label": "a", "label_f1": 0.5} and found.lexicon[1] == {"label": "", "label_f1": None}


def test_the_verb_serves_watches_records_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    watched = some_rules(tmp_path)
    first, *others = watched.rules
    rules.save(replace(watched, rules=(replace(first, actions=(Act("stop"),)), *others)), tmp_path / "rules.toml")
    arguments = ["serve", "reference-a", "--watch", tmp_path / "rules.toml", "--record", tmp_path / "rec", "--shadow"]
    arguments += ["--audit", tmp_path / "audit.jsonl", "--steer", f"calm={written(tmp_path)}", "--port", 0]
    code = (
        f"import torch; torch.set_num_threads(1); from monoscope.app.cli import main; main({list(map(str, arguments))})"
    )
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    program = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "MONOSCOPE_TOKEN": "mine"}, **options)
    try:
        assert program.stdout is not None
        shown = ""
        while "OPENAI_API_KEY" not in shown:
            line = program.stdout.readline()
            assert line, program.communicate()
            shown += line
        base = re.search(r"OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=mine", shown)
        assert base is not None and "?token=mine" in shown
        with openai.OpenAI(base_url=base[1], api_key="mine", max_retries=2) as client:
            found = client.completions.create(
                model="reference-a", prompt="import ", max_tokens=30, seed=1, n=2, extra_body={"steer": "calm"}
            )
            assert client.models.list().data[0].monoscope["recipes"] == ["calm"]
            metrics = client.get("/metrics".replace("/", "../", 1), cast_to=str)
        assert "monoscope_watch_tokens_total" in metrics
        program.send_signal(signal.SIGINT)
        out, problems = program.communicate(timeout=60)
        assert program.returncode == 0 and "has stopped" in out and problems == ""
    finally:
        program.kill()
        program.communicate()
    told = replay(Recording(tmp_path / "rec"), rules.load(tmp_path / "rules.toml"))
    assert told.complete and set(told.names.values()) == {f"{found.id}/0", f"{found.id}/1"}
    for choice in found.choices:
        extra = choice.monoscope
        mine = [vars(e) for number, e in told.events if told.names[number] == f"{found.id}/{choice.index}"]
        assert mine == [e for t in [*extra.get("prompt", []), *extra["tokens"]] for e in t.get("events", [])]
        assert choice.finish_reason != "content_filter"  # shadow mode stops nothing
    log = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert sum("rule" in str(line) for line in log) >= len(told.events)


def test_the_example_of_the_documentation(
    served: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openai")
    (example,) = re.findall(r"^```python\n(from openai.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{served.address}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
    exec(example.replace('"calm"', '"one"'), {})
    shown = capsys.readouterr().out
    assert shown.count("the token `") >= 30 and len(shown.splitlines()) >= 24
    served.idle()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_example_for_curl(served: Live) -> None:
    (example,) = re.findall(r"^```\n(curl .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = {"OPENAI_BASE_URL": f"{served.address}/v1", "OPENAI_API_KEY": TOKEN}
    found = subprocess.run(example, shell=True, env={**os.environ, **names}, capture_output=True, text=True, check=True)
    *events, end = [line.removeprefix("data: ") for line in found.stdout.splitlines() if line]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    told = [token for choice in choices for token in choice.get("monoscope", {}).get("tokens", [])]
    assert end == "[DONE]" and choices[-1]["finish_reason"] == "length"
    # one event may tell several tokens: a character of several tokens is sent whole
    assert len(told) == 12 and all(len(token["features"]) == 3 for token in told)
