"""What bars 10 and 11 share: the April 2024 recipe at three weights of its penalty.

Values depend on model and width; their order does not: a heavier penalty leaves fewer active features, a larger error
and less loss recovered. Each of the six steps must be clear of 0 by its paired interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bars._lab import APRIL, Lab, scaled
from bars._outcome import Line, Outcome, above_zero, estimate, negative, percent, words

WEIGHTS = (2.0, 5.0, 10.0)
MIDDLE = "5"
QUANTITIES = {"l0": ("L0", -1), "fvu": ("NMSE (FVU)", 1), "loss_recovered_zero": ("loss recovered (zero)", -1)}


def measure(lab: Lab, model_name: str) -> dict[str, Any]:
    """All three dictionaries' numbers, and the paired steps between neighbours."""
    model = lab.model(model_name)
    n = lab.settings.features
    made = model.dictionaries(APRIL, {f"{w:g}": scaled(lab.settings, APRIL, n, penalty=w) for w in WEIGHTS})
    found = model.evaluation({MIDDLE: made[MIDDLE], **made})
    every = {MIDDLE: found.metrics, **found.controls}
    shown = (*QUANTITIES, "loss_recovered_mean", "dead_fraction")
    steps = {"2 to 5": found.differences["2"], "5 to 10": found.differences["10"]}
    return {
        "features": n,
        "judged": found.facts["n_tokens"],
        "at": {f"{w:g}": {name: every[f"{w:g}"][name].to_json() for name in shown} for w in WEIGHTS},
        "steps": {
            "2 to 5": {name: steps["2 to 5"][name].to_json() for name in QUANTITIES},
            "5 to 10": {name: negative(steps["5 to 10"][name]).to_json() for name in QUANTITIES},
        },
    }


def judge(measured: Mapping[str, Any], paper: Mapping[str, tuple[str, ...]]) -> Outcome:
    """Every step in its direction, clear of 0."""
    lines = []
    for name, (title, direction) in QUANTITIES.items():
        at = [measured["at"][f"{w:g}"][name] for w in WEIGHTS]
        show = percent if name.startswith("loss") else "{:.3g}".format
        lines.append(Line(title, " / ".join(paper[name]), "", " / ".join(words(estimate(e), show) for e in at)))
        for step, differences in measured["steps"].items():
            difference = estimate(differences[name])
            right = above_zero(difference if direction > 0 else negative(difference))
            expected = "above 0" if direction > 0 else "below 0"
            lines.append(Line(f"… λ {step}", "", expected, words(difference, show), right))
    at = [measured["at"][f"{w:g}"] for w in WEIGHTS]
    for name, title in (("loss_recovered_mean", "loss recovered (mean)"), ("dead_fraction", "dead")):
        lines.append(Line(title, "", "", " / ".join(words(estimate(e[name]), percent) for e in at)))
    return Outcome(tuple(lines))
