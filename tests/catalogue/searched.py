"""Small catalogues made row by row, so that every way of searching can be held against brute force."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from catalogue_world import random_dense, spooled

from monoscope.catalogue import columns, schema, spelling
from monoscope.catalogue import index as indices
from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue

VOCABULARY = ("cat", "catalog", "dog", "dogma", "fish", "owl", "café", "3", "x")  # none is changed by stemming
VERSION_1 = """
CREATE VIRTUAL TABLE spelled USING fts5 (
    label, concept, tokens, promoted, context, tokenize = 'porter unicode61 remove_diacritics 2'
);
"""
LISTS = ("histogram", "intervals", "examples", "effects", "by_mean", "by_mass", "promoted", "suppressed", "neighbours")


@dataclass(frozen=True)
class Spelled:
    """What a feature can be found by, as lists of words."""

    tokens: list[str]
    promoted: list[str]
    context: list[str]


def words(rng: np.random.Generator, most: int) -> list[str]:
    return rng.choice(VOCABULARY, size=int(rng.integers(0, most))).tolist()


def label(feature: int, text: str, f1: float, kind: str = "context", low: float | None = None) -> Label:
    return Label(feature, kind, "nothing", text, 0.1, f1, f1, f1, f1 - 0.1 if low is None else low, f1, 0.2, 80, 14)


def make(run: Path, n: int = 40, seed: int = 0) -> tuple[Catalogue, list[Spelled], np.ndarray]:
    """A catalogue of ``n`` features without labels, what each is spelled by, and the dense codes behind it."""
    rng = np.random.default_rng(seed)
    dense = random_dense(200, n, seed)
    index = indices.build(spooled(dense, run), run / "catalogue", {"key": "test"})
    spelled = [Spelled(words(rng, 3), words(rng, 3), words(rng, 6)) for _ in range(n)]
    connection = schema.create(run / schema.NAME)
    with connection:
        facts = {"key": '"test"', "n_features": str(n)}
        connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        for i, (s, values) in enumerate(zip(spelled, dense.T, strict=True)):
            on = values[values > 0]
            row = (i, len(on), len(on) / 200, float(values.max()), float(on.mean()) if len(on) else 0.0)
            effect = None if i % 3 == 0 else float(rng.normal())
            rest = ["{}", "{}", "{}", *["[]"] * 8]
            marks = ", ".join("?" * 17)
            connection.execute(f"INSERT INTO features VALUES ({marks})", (*row, effect, *rest))
            texts = (" ".join(s.tokens), " ".join(s.promoted), " ".join(s.context))
            spelling.insert(connection, [spelling.unlabelled(n, i, len(on) > 0, texts)])
        columns.write_own(connection, connection, index)
        columns.write_labels(connection, connection)
    connection.close()
    return Catalogue(run), spelled, dense


def age(path: Path) -> None:
    """Turn a catalogue's database into one of version 1, with that version's own tables."""
    connection = sqlite3.connect(path)
    n = connection.execute("SELECT count(*) FROM features").fetchone()[0]
    with connection:
        connection.execute(VERSION_1)
        connection.execute(
            """INSERT INTO spelled (rowid, label, concept, tokens, promoted, context)
            SELECT w.rowid % ?, ifnull(l.words, ''), ifnull(l.concept, ''), w.tokens, w.promoted, w.context
            FROM words w LEFT JOIN labels l ON l.feature = w.rowid % ?""",
            (n, n),
        )
        connection.execute("DROP TABLE words")
        connection.execute("DROP TABLE columns")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
