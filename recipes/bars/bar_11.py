"""Bar 11: the April 2024 recipe on a four-layer model's residual stream at λ = 2, 5, 10: the orders of bar 10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bars import _penalties
from bars._lab import Lab
from bars._outcome import Outcome

TITLE = "λ = 2 / 5 / 10 on four layers' residual stream"
SOURCE = "Anthropic, April 2024, 131,072 features"
PAPER = {
    "l0": ("81.6", "33.2", "8.7"),
    "fvu": ("", "", ""),
    "loss_recovered_zero": ("95.7 %", "90.4 %", "83.9 %"),
}


def measure(lab: Lab) -> dict[str, Any]:
    """In the middle of reference model C."""
    return _penalties.measure(lab, "reference-c")


def judge(measured: Mapping[str, Any]) -> Outcome:
    """See ``_penalties``."""
    return _penalties.judge(measured, PAPER)
