"""Nothing tells what is rated before it is rated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from app_demo import DemoCatalogue

from monoscope.app.ui.blind import Blind
from monoscope.errors import MonoscopeError
from monoscope.interpret.ratings import SCALES, Ratings

SCORES = {"confidence": 2, "activations": 4, "logits": 1, "specificity": 3, "interpretation": "digits"}


@pytest.fixture(scope="module")
def control() -> DemoCatalogue:
    return DemoCatalogue(40, seed=1)


def blind(catalogue: DemoCatalogue, control: DemoCatalogue, path: Path, seed: int = 0) -> Blind:
    return Blind({"features": catalogue, "random_model": control}, Ratings(path, "key"), seed)


def test_the_queue_is_balanced_shuffled_and_alive(
    catalogue: DemoCatalogue, control: DemoCatalogue, tmp_path: Path
) -> None:
    queue = blind(catalogue, control, tmp_path)._queue
    alive = int((control.features["density"] > 0).sum())
    assert len(queue) == len(set(queue)) == 2 * alive
    kinds = [kind for kind, _ in queue]
    assert all(set(kinds[i : i + 2]) == {"features", "random_model"} for i in range(0, len(kinds), 2))
    assert len({tuple(kinds[i : i + 2]) for i in range(0, len(kinds), 2)}) == 2
    assert queue == blind(catalogue, control, tmp_path)._queue != blind(catalogue, control, tmp_path, 1)._queue


def test_what_is_shown_does_not_tell_what_it_is(
    catalogue: DemoCatalogue, control: DemoCatalogue, tmp_path: Path
) -> None:
    queue = blind(catalogue, control, tmp_path)
    shown = queue.next()
    text = json.dumps(shown)
    kind, feature = queue._queue[0]
    names = {"item", "rated", "scales", "kinds", "missing", "groups", "promoted", "suppressed"}
    assert shown.keys() == names and shown["missing"] == ["neurons"]
    words = str((catalogue if kind == "features" else control).features["label"][feature])
    assert "density" not in text and "document" not in text and (not words or words not in text)
    values = [e["value"] for g in shown["groups"] for e in g["examples"]]
    assert max(values) == pytest.approx(1) and min(values) > 0
    assert max(abs(t["weight"]) for t in shown["promoted"]) == pytest.approx(1)
    assert queue.report()["kinds"] == {}
    told = queue.rate(0, SCORES)
    assert (told["kind"], told["feature"], told["total"]) == (kind, feature, 10) and told["label"] == words
    assert queue.next()["item"] == 1 and queue.next()["rated"] == 1
    with pytest.raises(MonoscopeError, match="rated already"):
        queue.rate(0, SCORES)


def test_when_all_are_rated_nothing_is_shown(catalogue: DemoCatalogue, tmp_path: Path) -> None:
    few = Blind({"features": DemoCatalogue(5)}, Ratings(tmp_path, "key"))
    for item in range(len(few._queue)):
        few.rate(item, SCORES)
    assert few.next()["item"] is None and few.report()["kinds"]["features"]["n"] == len(few._queue)


@pytest.mark.parametrize(
    "scores", [{}, {**SCORES, "kind": "features"}, {**SCORES, "logits": 9}, {**SCORES, "interpretation": 3}]
)
def test_nonsense_is_refused(catalogue: DemoCatalogue, tmp_path: Path, scores: dict) -> None:
    queue = Blind({"features": catalogue}, Ratings(tmp_path, "key"))
    with pytest.raises(MonoscopeError):
        queue.rate(0, scores)
    assert queue.ratings.all() == [] and set(SCALES) < set(SCORES)
    with pytest.raises(MonoscopeError, match="there is no item"):
        queue.rate(10**6, SCORES)
