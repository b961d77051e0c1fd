"""``monoscope steer`` without a text: what was measured is told, whether or not a recipe can be saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monoscope.app import run as runs
from monoscope.app import steering
from monoscope.app.verbs.steer import steer
from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.edit import Edit, Recipe
from monoscope.signals.direction import Direction
from monoscope.studies import dose_response


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is shown of a study that was measured elsewhere, in which no dose is within the tolerance."""
    shown: list[Any] = []

    def made(_run: Path, feature: int, operation: Any, dose: float, unit: Any) -> Recipe:
        direction = Direction(dictionary="run/dictionary", feature=feature, max=2.0)
        return Recipe((Edit(operation, direction, dose, unit),))

    monkeypatch.setattr(runs, "Run", lambda path: path)
    monkeypatch.setattr(steering, "recipe", made)
    monkeypatch.setattr(steering, "study", lambda *_: ["measured"])
    monkeypatch.setattr(steering, "show", lambda responses, *_: shown.extend(responses))
    monkeypatch.setattr(dose_response, "sweet_spot", lambda *_: None)
    return shown


def test_what_was_measured_is_told_though_no_dose_will_do(told: list[Any], tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match="no single dose was chosen"):
        steer(tmp_path, feature=3, dose="0.5,1", concept="letters", save=tmp_path / "recipe.toml")
    assert told == ["measured"] and not (tmp_path / "recipe.toml").exists()


def test_the_only_dose_is_saved(told: list[Any], tmp_path: Path) -> None:
    steer(tmp_path, feature=3, dose="0.5", concept="letters", save=tmp_path / "recipe.toml")
    assert told == ["measured"] and recipes.load(tmp_path / "recipe.toml").edits[0].dose == 0.5
