"""Explanations of any explainer, with what tests said of each, and in words how far that goes."""

from __future__ import annotations

from typing import Any

from monoscope.app.ui.payloads import number


def findings(catalogue: Any, feature: int) -> list[dict[str, Any]]:
    """A feature's explanations, each with its scores and a verdict."""
    scores = [score(s) for s in catalogue.scores(feature)]
    return [
        {
            "explainer": e.explainer,
            "fires_on": e.fires_on,
            "promotes": e.promotes,
            "scores": (own := [s for s in scores if s["explainer"] == e.explainer]),
            "verdict": verdict(own),
        }
        for e in catalogue.explanations(feature)
    ]


def score(found: Any) -> dict[str, Any]:
    """A score with its interval and controls, and whether it beats the best of them beyond its interval."""
    controls = {
        str(name): number(control.get("value"))
        for name, control in found.detail.get("controls", {}).items()
        if control.get("value") is not None
    }
    best = max((v for v in controls.values() if v is not None), default=None)
    beats = None if best is None or found.low is None else bool(found.low > best)
    return {
        "explainer": found.explainer,
        "scorer": found.scorer,
        **{name: number(getattr(found, name)) for name in ("value", "low", "high")},
        "n": int(found.n),
        "controls": controls,
        "chance": number(found.detail.get("chance")),
        "why": str(found.detail.get("why", "")),
        "beats": beats,
    }


def verdict(scores: list[dict[str, Any]]) -> str:
    """How far an explanation may be trusted, and why: what was tested, and whether it beats what knows nothing."""
    judged = [s for s in scores if s["value"] is not None]
    if not judged:
        why = next((f": {s['why']}" for s in scores if s["why"]), "")
        return f"Not tested{why}. Read it as a guess."
    beaten = [s["scorer"] for s in judged if s["beats"]]
    lost = [s["scorer"] for s in judged if s["beats"] is False]
    alone = [s["scorer"] for s in judged if s["beats"] is None]
    parts = [
        f"Better than every control by {_names(beaten)}." if beaten else "",
        f"Not better than the best control by {_names(lost)}, beyond doubt." if lost else "",
        f"Scored by {_names(alone)} without controls, which says little." if alone else "",
    ]
    return " ".join(part for part in parts if part)


def _names(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
