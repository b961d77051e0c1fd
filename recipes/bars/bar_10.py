"""Bar 10: the April 2024 recipe on a one-layer model's neurons at λ = 2, 5, 10: L0, error and loss recovered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bars import _penalties
from bars._lab import Lab
from bars._outcome import Outcome

TITLE = "λ = 2 / 5 / 10 on one layer's neurons"
SOURCE = "Anthropic, April 2024, 131,072 features"
PAPER = {
    "l0": ("99.6", "38.7", "20.1"),
    "fvu": ("0.031", "0.066", "0.131"),
    "loss_recovered_zero": ("98.3 %", "96.4 %", "91.4 %"),
}


def measure(lab: Lab) -> dict[str, Any]:
    """At ``mlp_act.0`` of reference model A."""
    return _penalties.measure(lab, "reference-a")


def judge(measured: Mapping[str, Any]) -> Outcome:
    """See ``_penalties``."""
    return _penalties.judge(measured, PAPER)
