"""A feature's record for the page, in a form that deflates to half: texts in one list, only the values above 0."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from monoscope.app.static_site.text import WIDE
from monoscope.app.ui import payloads
from monoscope.app.ui.findings import findings

DIGITS = 4  # significant ones of a value: the catalogue's half floats hold no more


def record(catalogue: Any, feature: int) -> dict[str, Any]:
    """What ``payloads.record`` says, with each example's tokens as their ``first`` position, ``texts``, and ``values``.

    ``values`` is flat: how far on, value, how far on, value, …; they cover the wider passage too, whose tokens are with
    ``text.Passages``.

    Raises:
        MonoscopeError: the catalogue has no such feature.
    """
    absent = {"model_at_hand": False, "annotation": None}
    found = {**payloads.record(catalogue, feature), "explanations": findings(catalogue, feature), **absent}
    for group in found["groups"]:
        group["examples"] = [_example(catalogue, feature, example) for example in group["examples"]]
    return found


def _example(catalogue: Any, feature: int, found: dict[str, Any]) -> dict[str, Any]:
    tokens = found.pop("tokens")
    document, position = found["document"], found["position"]
    first = max(0, position - WIDE[0])
    last = min(catalogue.rows.store.length(document), position + WIDE[1] + 1)
    values = catalogue.activations(feature, document, first, last)
    on = np.flatnonzero(values)
    gaps = np.diff(np.concatenate([[0], on + first]))
    pairs = zip(gaps.tolist(), values[on].tolist(), strict=True)
    flat = [number for gap, value in pairs for number in (gap, _short(value))]
    return {**found, "first": tokens[0]["position"], "texts": [t["text"] for t in tokens], "values": flat}


@lru_cache(maxsize=1 << 16)  # as many as there are half floats
def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
