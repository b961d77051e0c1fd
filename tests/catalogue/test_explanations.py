"""Explanations and their scores, kept beside the labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from catalogue_world import FEATURES, dictionary, language_model, store

from monoscope.catalogue.build import build
from monoscope.catalogue.explanations import Explanation, Score
from monoscope.catalogue.store import Catalogue, open_catalogue
from monoscope.errors import MonoscopeError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explanations") / "run"
    build(path, language_model(1), "mlp_act.0", dictionary(), store(path / "text"), effects=0).close()
    return path


@pytest.fixture
def catalogue(run: Path, tmp_path: Path) -> Catalogue:
    shutil.copytree(run, tmp_path / "run")
    return open_catalogue(tmp_path / "run")


def score(feature: int, scorer: str, value: float | None = 0.5) -> Score:
    return Score(feature, "someone", scorer, value, 0.4, 0.6, 40, {"always_no": 0.5})


def test_a_catalogue_that_no_one_explained_has_no_explanations(catalogue: Catalogue) -> None:
    assert catalogue.explanations() == [] and catalogue.scores(3) == []


def test_explanations_and_scores_come_back_as_they_were_written(catalogue: Catalogue) -> None:
    first = Explanation(3, "someone", "dates", "a year", {"shown": [1, 2]})
    other = Explanation(3, "another", "numbers")
    catalogue.write_explanations([first, other, Explanation(4, "someone", "names")])
    catalogue.write_scores([score(3, "fuzzing"), score(3, "detection", None), score(4, "fuzzing")])
    assert catalogue.explanations(3) == [other, first] and len(catalogue.explanations()) == 3
    assert catalogue.scores(3) == [score(3, "detection", None), score(3, "fuzzing")]
    assert open_catalogue(catalogue.run).scores() == [*catalogue.scores(3), score(4, "fuzzing")]


def test_a_new_explanation_replaces_the_old_one_and_its_scores(catalogue: Catalogue) -> None:
    catalogue.write_explanations([Explanation(3, "someone", "dates"), Explanation(4, "someone", "names")])
    catalogue.write_scores([score(3, "fuzzing"), score(4, "fuzzing")])
    catalogue.write_explanations([Explanation(3, "someone", "years")])
    assert catalogue.explanations(3) == [Explanation(3, "someone", "years")]
    assert catalogue.scores() == [score(4, "fuzzing")]


def test_all_are_written_or_none(catalogue: Catalogue) -> None:
    with pytest.raises(MonoscopeError, match=f"feature {FEATURES}"):
        catalogue.write_explanations([Explanation(1, "someone", "good"), Explanation(FEATURES, "someone", "none")])
    with pytest.raises(MonoscopeError, match="feature -1"):
        catalogue.write_scores([score(1, "fuzzing"), score(-1, "fuzzing")])
    assert catalogue.explanations() == [] and catalogue.scores() == []
