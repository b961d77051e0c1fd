"""Two texts compared: which features are active in one and not in the other, and by how much they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monoscope.app.ui.payloads import number

LISTED = 30  # rows of each list


def contrast(first: Mapping[str, Any], second: Mapping[str, Any], listed: int = LISTED) -> dict[str, Any]:
    """Line up the features of two readings.

    Args:
        first: what a ``Reader`` gives for one text.
        second: the same for the other.
        listed: rows of each list at most.

    Returns:
        ``{"first", "second", "both"}``, each ``{"total", "features"}``: those active in the first text only and in the
        second only, by their largest value, and those active in both, by the difference of their largest values. A row
        holds id, label and F1, and for each text the largest value and on how many tokens the feature is active (null
        and 0 where it is not).
    """
    sides = [_summed(reading) for reading in (first, second)]
    rows = [_row(i, sides) for i in sorted(sides[0].keys() | sides[1].keys())]
    lists = {
        "first": [r for r in rows if not r["tokens"][1]],
        "second": [r for r in rows if not r["tokens"][0]],
        "both": [r for r in rows if all(r["tokens"])],
    }
    for found in lists.values():
        found.sort(key=lambda r: -abs(r["difference"]))
    return {name: {"total": len(found), "features": found[:listed]} for name, found in lists.items()}


def _summed(reading: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """By feature: label, F1, the largest value, and on how many tokens it is active."""
    found: dict[int, dict[str, Any]] = {}
    for token in reading["tokens"]:
        for feature in token["features"]:
            held = found.setdefault(feature["id"], {**feature, "tokens": 0})
            held["value"] = max(held["value"], feature["value"])
            held["tokens"] += 1
    return found


def _row(feature: int, sides: list[dict[int, dict[str, Any]]]) -> dict[str, Any]:
    found = [side.get(feature) for side in sides]
    one = next(side for side in found if side)
    values = [side["value"] if side else None for side in found]
    return {
        "id": feature,
        "label": one["label"],
        "label_f1": one["label_f1"],
        "values": values,
        "tokens": [side["tokens"] if side else 0 for side in found],
        "difference": number((values[1] or 0.0) - (values[0] or 0.0)),
    }
