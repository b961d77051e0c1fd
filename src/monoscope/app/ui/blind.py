"""Blind rating: features of a dictionary and of its controls in random order, with nothing that tells which is which.

Shown are examples from every part of a feature's own range, coloured relative to its maximum, and the tokens that its
direction promotes and suppresses, relative to the largest. Numbers, names of documents, densities, labels and values in
the model's units stay hidden: neurons and controls could be told by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from monoscope.app.ui import payloads
from monoscope.errors import MonoscopeError
from monoscope.interpret.ratings import SCALES, Rating, Ratings, report

OWN = "features"
PER_GROUP = 4  # examples of each part of the range
AROUND = (12, 8)
LISTED = 8  # promoted and suppressed tokens
WANTED = ("random_model", "neurons")  # the controls that the comparison is best made with


class Blind:
    """The queue of what is to be rated: as many of each kind as there are to be had, shuffled by a seed."""

    def __init__(self, catalogues: Mapping[str, Any], ratings: Ratings, seed: int = 0) -> None:
        """``catalogues`` by kind: ``features`` for the dictionary's own, and its controls by name."""
        self.catalogues, self.ratings = dict(catalogues), ratings
        self._queue = _queue(self.catalogues, seed)
        self._place = {item: i for i, item in enumerate(self._queue)}

    def next(self) -> dict[str, Any]:
        """The first that is not rated, without its origin; ``item`` is None where all are.

        Returns:
            ``{"item", "rated", "scales", "kinds", "missing", "groups", "promoted", "suppressed"}``.
        """
        done = {(r.kind, r.feature) for r in self.ratings.all()}
        place = next((i for i, item in enumerate(self._queue) if item not in done), None)
        about = {
            "item": place,
            "rated": len(done),
            "scales": SCALES,
            "kinds": sorted(self.catalogues),
            "missing": [name for name in WANTED if name not in self.catalogues],
        }
        if place is None:
            return about
        kind, feature = self._queue[place]
        return about | _shown(self.catalogues[kind], feature)

    def rate(self, item: int, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a rating, and only then tell what was rated: its kind, number and label.

        Raises:
            MonoscopeError: there is no such item, the rating is not valid, or it was rated before.
        """
        if not 0 <= item < len(self._queue):
            raise MonoscopeError(f"there is no item {item}", fix="rate the one that was shown")
        kind, feature = self._queue[item]
        if scores.keys() != {*SCALES, "interpretation"}:
            raise MonoscopeError("the request is no rating", fix=f"send {', '.join(SCALES)} and interpretation")
        rating = Rating(kind, feature, **scores)
        self.ratings.add(rating)
        return {**asdict(rating), "total": rating.total, "label": payloads.label_words(self.catalogues[kind], feature)}

    def report(self) -> dict[str, Any]:
        """Distributions by kind; see ``ratings.report``."""
        return {"kinds": report(self.ratings.all()), "names": payloads.CONTROLS | {OWN: "this dictionary’s features"}}


def _queue(catalogues: Mapping[str, Any], seed: int) -> list[tuple[str, int]]:
    """Living features, drawn without order, the kinds taken in turns of random order."""
    rng = np.random.default_rng(seed)
    drawn = []
    for kind in sorted(catalogues):
        alive = np.flatnonzero(np.asarray(catalogues[kind].features["density"]) > 0)
        drawn.append([(kind, int(i)) for i in rng.permutation(alive)])
    rounds = min((len(items) for items in drawn), default=0)
    return [drawn[k][i] for i in range(rounds) for k in rng.permutation(len(drawn))]


def _shown(catalogue: Any, feature: int) -> dict[str, Any]:
    """A feature without what would tell its kind."""
    found = catalogue[feature]
    groups = [
        {"name": name, "examples": [_example(catalogue, feature, e, found.max) for e in examples[:PER_GROUP]]}
        for name, examples in found.examples.items()
        if examples
    ]
    return {"groups": groups, "promoted": _relative(found.promoted), "suppressed": _relative(found.suppressed)}


def _example(catalogue: Any, feature: int, example: Any, most: float) -> dict[str, Any]:
    tokens = payloads.excerpt(catalogue, example.document, example.position, feature, AROUND)
    first = tokens[0]["position"]
    shown = [
        {"text": t["text"], "value": payloads.number((t["value"] or 0.0) / most), "position": t["position"] - first}
        for t in tokens
    ]
    return {
        "tokens": shown,
        "position": int(example.position) - first,
        "value": payloads.number(example.value / most),
    }


def _relative(tokens: Any) -> list[dict[str, Any]]:
    weights = [abs(t.weight) for t in tokens[:LISTED]]
    top = max(weights, default=1.0) or 1.0
    return [{"text": str(t.text), "weight": payloads.number(t.weight / top)} for t in tokens[:LISTED]]
