"""Explanations from any explainer and what tests said of them, kept in the catalogue's database beside the labels.

A feature may have one explanation of each explainer, and each of those one score of each scorer. The label of a feature
(``records.Label``, whose evidence is a concept that can be run) is kept apart.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TABLES = """
CREATE TABLE IF NOT EXISTS explanations (
    feature INTEGER NOT NULL REFERENCES features (id), explainer TEXT NOT NULL,
    fires_on TEXT NOT NULL, promotes TEXT NOT NULL, detail TEXT NOT NULL,               -- detail is JSON
    PRIMARY KEY (feature, explainer)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scores (
    feature INTEGER NOT NULL, explainer TEXT NOT NULL, scorer TEXT NOT NULL,
    value REAL, low REAL, high REAL, n INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (feature, explainer, scorer)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Explanation:
    """What an explainer says of a feature.

    Args:
        feature: its number.
        explainer: who says so: a name from ``interpret/explainers``, with the model where one was asked.
        fires_on: what makes the feature fire; "" where the explainer does not say.
        promotes: what the feature makes the model say; "" where the explainer does not say.
        detail: anything else that is worth keeping, ready for JSON: documents that were shown, seeds, tokens spent.
    """

    feature: int
    explainer: str
    fires_on: str
    promotes: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """What a scorer found of an explanation: a value with its 95 % interval, None where it does not apply.

    ``n`` is the number of judged examples; ``detail`` holds the controls' values and whatever else explains the number.
    """

    feature: int
    explainer: str
    scorer: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    detail: Mapping[str, Any] = field(default_factory=dict)


def write_explanations(connection: sqlite3.Connection, explanations: Iterable[Explanation]) -> None:
    """Add explanations in the caller's transaction; one of the same feature and explainer goes, with its scores."""
    given = list(explanations)
    _create(connection)
    connection.executemany(
        "DELETE FROM scores WHERE feature = ? AND explainer = ?", [(e.feature, e.explainer) for e in given]
    )
    connection.executemany(
        "REPLACE INTO explanations VALUES (?, ?, ?, ?, ?)",
        [(e.feature, e.explainer, e.fires_on, e.promotes, json.dumps(dict(e.detail))) for e in given],
    )


def write_scores(connection: sqlite3.Connection, scores: Iterable[Score]) -> None:
    """Add scores in the caller's transaction; one of the same feature, explainer and scorer is replaced."""
    _create(connection)
    connection.executemany(
        "REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(s.feature, s.explainer, s.scorer, s.value, s.low, s.high, s.n, json.dumps(dict(s.detail))) for s in scores],
    )


def read_explanations(connection: sqlite3.Connection, feature: int | None = None) -> list[Explanation]:
    """The explanations of a feature, or of all, by feature and explainer."""
    return [
        Explanation(f, explainer, fires_on, promotes, json.loads(detail))
        for f, explainer, fires_on, promotes, detail in _read(connection, "explanations", feature)
    ]


def read_scores(connection: sqlite3.Connection, feature: int | None = None) -> list[Score]:
    """The scores of a feature, or of all, by feature, explainer and scorer."""
    return [
        Score(f, explainer, scorer, value, low, high, n, json.loads(detail))
        for f, explainer, scorer, value, low, high, n, detail in _read(connection, "scores", feature)
    ]


def _create(connection: sqlite3.Connection) -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _read(connection: sqlite3.Connection, table: str, feature: int | None) -> list[tuple[Any, ...]]:
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if there is None:  # no one has explained anything yet
        return []
    where = "" if feature is None else "WHERE feature = ?"
    order = "1, 2" if table == "explanations" else "1, 2, 3"
    found = connection.execute(f"SELECT * FROM {table} {where} ORDER BY {order}", () if feature is None else (feature,))
    return found.fetchall()
