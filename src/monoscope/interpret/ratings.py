"""How well people could interpret features that they did not know the origin of: the rubric of Bricken et al. 2023.

"Towards Monosemanticity" had a person rate features and neurons blind, on four scales that add up to 14: confidence in
an interpretation, how consistent the activations and the effects on the logits are with it, and how specific it is.
Ratings have a small SQLite file of their own in the run's folder; no rating can be changed once its origin was shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monoscope.catalogue import sidecar
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Totals, bootstrap

NAME = "ratings.sqlite"
SCALES = {"confidence": 3, "activations": 5, "logits": 3, "specificity": 3}
MOST = sum(SCALES.values())
LONGEST_WORDS = 500
TABLE = """
CREATE TABLE IF NOT EXISTS ratings (
    catalogue TEXT NOT NULL, kind TEXT NOT NULL, feature INTEGER NOT NULL, interpretation TEXT NOT NULL,
    confidence INTEGER NOT NULL, activations INTEGER NOT NULL, logits INTEGER NOT NULL, specificity INTEGER NOT NULL,
    PRIMARY KEY (catalogue, kind, feature)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Rating:
    """What a person made of one feature of one kind (``features``, or a control's name); scales as in ``SCALES``."""

    kind: str
    feature: int
    interpretation: str
    confidence: int
    activations: int
    logits: int
    specificity: int

    def check(self) -> None:
        """Raises: MonoscopeError: a scale is left out or overrun, or the interpretation is too long."""
        for name, top in SCALES.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= top:
                raise MonoscopeError(f"{name} is rated {value!r}", fix=f"rate it from 0 to {top}")
        if not isinstance(self.interpretation, str) or len(self.interpretation) > LONGEST_WORDS:
            raise MonoscopeError("the interpretation is too long", fix=f"use at most {LONGEST_WORDS} characters")

    @property
    def total(self) -> int:
        """0 to 14."""
        return sum(getattr(self, name) for name in SCALES)


class Ratings:
    """The ratings of one catalogue and its controls."""

    def __init__(self, run: str | Path, key: str) -> None:
        """Name the run's folder and the key of its catalogue."""
        self.path, self.key = Path(run) / NAME, key

    def all(self) -> list[Rating]:
        """Every rating, by kind and feature."""
        if not self.path.is_file():
            return []
        with sidecar.connection(self.path) as connection:
            rows = connection.execute(
                "SELECT kind, feature, interpretation, confidence, activations, logits, specificity FROM ratings "
                "WHERE catalogue = ? ORDER BY kind, feature",
                (self.key,),
            ).fetchall()
        return [Rating(*row) for row in rows]

    def add(self, rating: Rating) -> None:
        """Keep a rating for good.

        Raises:
            MonoscopeError: it is not valid, the feature was rated before, or the file cannot be written.
        """
        rating.check()
        marks = (self.key, rating.kind, rating.feature, rating.interpretation, *(getattr(rating, s) for s in SCALES))
        try:
            with sidecar.connection(self.path) as connection:
                connection.execute(TABLE)
                connection.execute("INSERT INTO ratings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", marks)
        except sqlite3.IntegrityError as error:
            raise MonoscopeError("this feature was rated already", fix="go on to the next one") from error


def report(ratings: Sequence[Rating], seed: int = 0) -> dict[str, Any]:
    """By kind: how many were rated, how often each total was given, and every scale's mean.

    Returns:
        ``{kind: {"n", "totals", "means": {scale or "total": {"value", "low", "high"}}}}``; ``totals[i]`` ratings add up
        to i. Intervals are 95 %, over resampled ratings; null for a single one.
    """
    out = {}
    for kind in sorted({r.kind for r in ratings}):
        own = [r for r in ratings if r.kind == kind]
        names = [*SCALES, "total"]
        scores = np.array([[getattr(r, name) for name in names] for r in own], dtype=np.float64)

        def means(totals: Totals, names: list[str] = names) -> dict[str, np.ndarray]:
            return {name: totals["scores"][..., i] / totals["n"] for i, name in enumerate(names)}

        found = bootstrap({"scores": scores, "n": np.ones(len(own))}, means, seed)
        alone = {"low": None, "high": None} if len(own) == 1 else {}
        out[kind] = {
            "n": len(own),
            "totals": np.bincount([r.total for r in own], minlength=MOST + 1).tolist(),
            "means": {name: {**estimate.to_json(), **alone} for name, estimate in found.items()},
        }
    return out
