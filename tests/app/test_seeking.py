"""``monoscope seek``: from a run to a recipe that steers, with everything that was tried beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import FEATURES

import monoscope as ms
from monoscope.app import cli, seeking
from monoscope.app.run import Run
from monoscope.intervene import recipes
from monoscope.studies.continuations import beginnings

SMALL = {
    "begins": "keyword_def", "budget": "2400", "samples": "40", "candidates": "1", "doses": "0.3,0.9", "tokens": "8",
    "confirm": "24",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(planted: Run) -> Run:
    return planted


def seek(run: Run, *arguments: str, **changed: str) -> int:
    options = [word for name, value in {**SMALL, **changed}.items() for word in (f"--{name}", value)]
    with pytest.raises(SystemExit) as exit_:
        cli.main(["seek", str(run.path), *options, *arguments])
    return int(exit_.value.code or 0)


def test_a_recipe_is_found_confirmed_and_saved(
    run: Run, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []  # what was confirmed once is shown again
    monkeypatch.setattr(seeking, "confirm", lambda *a, once=seeking.confirm: kept or kept.extend(once(*a)) or kept)
    (tmp_path / "mine.py").write_text("def score(prompt, said):\n    return said.count('1') / max(1, len(said))\n")
    arguments = ["--objective", f"{tmp_path}/mine.py:score", "--save", str(tmp_path / "r.toml"), "--json"]
    assert seek(run, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] <= 2400 and len(found["standings"]) == 2 * len(found["proposed"])
    assert found["winner"]["feature"] in range(FEATURES)
    ways = {way["name"]: way for way in found["confirmed"]}
    assert list(ways)[:4] == ["plain", "steered", "random features", "gradient"]
    assert {"temperature 0", "best of 2", "best of 4"} < set(ways) and any(w["cost"] > 5 for w in ways.values())
    assert ways["best of 4"]["score"]["value"] >= ways["best of 2"]["score"]["value"] >= ways["plain"]["score"]["value"]
    saved = recipes.load(tmp_path / "r.toml").edits[0]
    assert (saved.of.feature, saved.dose, saved.unit) == (found["winner"]["feature"], found["winner"]["dose"], "norm")
    (written,) = (run.path / "seeking").glob("*.jsonl")
    before = written.read_text()
    assert seek(run, *arguments[:2]) == 0
    assert f"Feature {found['winner']['feature']} " in capsys.readouterr().out and written.read_text() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objective": "python_parse"}, "did you mean 'python_parses'"),
        ({"begins": "keyword_df"}, "did you mean 'keyword_def'"),
        ({"concept": "keyword_df"}, "did you mean 'keyword_def'"),
        ({"budget": "100"}, "samples alone use up the budget"),
        ({"budget": "400000"}, "places where a prompt could begin"),
        ({"doses": "a"}, "are no doses"),
    ],
)
def test_what_cannot_be_sought_is_refused_before_any_work(
    changed: dict[str, str], message: str, run: Run, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monoscope.studies.recipe_search.go_on", lambda *a: pytest.fail("text was generated"))
    assert seek(run, **{"objective": "python_parses", **changed}) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_prompts_begin_where_the_concept_holds_and_of_as_many_documents_as_possible(run: Run) -> None:
    store = run.store
    documents = [d for d in store.documents("fit").tolist() if "code" in store.names[d]]
    begins = ms.concept("keyword_def")
    found = beginnings(store, documents, begins, len(documents), 12, 8, seed=1)
    first = run.lm.tokeniser.text("def").tokens.tolist()[0]
    assert all(prompt[0] == first and 8 <= len(prompt) <= 12 for prompt in found)
    starts = [store.tokens[store.token_offsets[d] : store.token_offsets[d + 1]].tolist() for d in documents]
    held = [next(i for i, t in enumerate(starts) if str(p)[1:-1] in str(t)) for p in found]
    assert len(set(held)) > len(documents) // 2
    assert found == beginnings(store, documents, begins, len(documents), 12, 8, seed=1)
    assert found != beginnings(store, documents, begins, len(documents), 12, 8, seed=2)


def test_labels_that_hold_the_concept_are_candidates(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"label_concept": ["in_dna", "", "in_dna & letters"], "label_f1": [0.9, float("nan"), 0.4]}
    monkeypatch.setattr(type(run.catalogue), "features", {name: np.array(v) for name, v in columns.items()})
    assert seeking._labelled(run, "in_dna") == {0: 0.9, 2: 0.4}
    assert seeking._labelled(run, "") == {}
