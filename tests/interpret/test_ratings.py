"""Ratings are kept once and for good, and reported by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monoscope.errors import MonoscopeError
from monoscope.interpret.ratings import MOST, SCALES, Rating, Ratings, report


def rated(kind: str, feature: int, *scores: int) -> Rating:
    return Rating(kind, feature, "words", *scores)


def test_the_scales_add_up_to_the_papers_14() -> None:
    assert MOST == 14 and list(SCALES.values()) == [3, 5, 3, 3]
    assert rated("features", 0, 3, 5, 3, 3).total == 14


def test_a_rating_is_kept_for_good(tmp_path: Path) -> None:
    held = Ratings(tmp_path, "key")
    assert held.all() == [] and not held.path.exists()
    first = rated("features", 3, 1, 2, 3, 0)
    held.add(first)
    held.add(rated("neurons", 3, 0, 0, 0, 0))
    with pytest.raises(MonoscopeError, match="rated already"):
        held.add(rated("features", 3, 3, 5, 3, 3))
    assert Ratings(tmp_path, "key").all() == [first, rated("neurons", 3, 0, 0, 0, 0)]
    assert Ratings(tmp_path, "another catalogue").all() == []


@pytest.mark.parametrize("scores", [(4, 0, 0, 0), (0, 6, 0, 0), (0, 0, -1, 0), (0, 0, 0, 1.5), (True, 0, 0, 0)])
def test_scales_are_not_overrun(tmp_path: Path, scores: tuple[Any, ...]) -> None:
    held = Ratings(tmp_path, "key")
    with pytest.raises(MonoscopeError, match="is rated"):
        held.add(rated("features", 1, *scores))
    assert held.all() == []


def test_the_report_has_means_intervals_and_distributions() -> None:
    rng = np.random.default_rng(0)
    many = [rated("features", i, *(int(rng.integers(0, top + 1)) for top in SCALES.values())) for i in range(60)]
    found = report([*many, rated("neurons", 1, 1, 1, 0, 0)])
    totals = [r.total for r in many]
    assert found["features"]["n"] == 60 and found["features"]["totals"] == np.bincount(totals, minlength=15).tolist()
    total = found["features"]["means"]["total"]
    assert total["value"] == pytest.approx(np.mean(totals))
    spread = 1.96 * np.std(totals) / np.sqrt(60)
    assert total["low"] == pytest.approx(np.mean(totals) - spread, abs=0.15)
    assert total["high"] == pytest.approx(np.mean(totals) + spread, abs=0.15)
    assert found["neurons"]["means"]["total"] == {"value": 2.0, "low": None, "high": None}
    assert report([]) == {}
