"""What is said of an explanation follows from its scores and their controls."""

from __future__ import annotations

from monoscope.app.ui.findings import score, verdict
from monoscope.catalogue.explanations import Score


def made(value: float | None, low: float | None, controls: dict[str, float], **detail: object) -> dict:
    high = None if value is None else value + 0.05
    of = {name: {"value": v} for name, v in controls.items()}
    return score(Score(3, "someone", "detection", value, low, high, 40, {"controls": of, "chance": 0.5, **detail}))


def test_beating_the_best_control_beyond_the_interval_is_what_counts() -> None:
    assert made(0.8, 0.7, {"shuffled": 0.5, "unigram": 0.69})["beats"] is True
    assert made(0.8, 0.7, {"shuffled": 0.5, "unigram": 0.7})["beats"] is False
    assert made(0.8, 0.7, {})["beats"] is None and made(0.8, None, {"shuffled": 0.1})["beats"] is None


def test_verdicts() -> None:
    assert verdict([]) == "Not tested. Read it as a guess."
    untested = made(None, None, {}, why="too few passages")
    assert verdict([untested]) == "Not tested: too few passages. Read it as a guess."
    good, bad = made(0.8, 0.7, {"shuffled": 0.5}), made(0.6, 0.5, {"shuffled": 0.55})
    assert verdict([good]) == "Better than every control by detection."
    assert verdict([{**bad, "scorer": "fuzzing"}, good]) == (
        "Better than every control by detection. Not better than the best control by fuzzing, beyond doubt."
    )
    assert "without controls" in verdict([made(0.9, 0.8, {})])
