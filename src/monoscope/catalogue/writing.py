"""Putting folded features into the database: columns as numbers and JSON, words for the full-text index."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from monoscope.catalogue import spelling
from monoscope.catalogue.directions import logit_weights, neighbours
from monoscope.catalogue.fold import Folded
from monoscope.catalogue.rendering import show
from monoscope.catalogue.statistics import TOP
from monoscope.catalogue.subject import Subject
from monoscope.catalogue.top_tokens import Weighted
from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore

AROUND = 10  # tokens on either side of the top examples that can be searched for
EXCERPTS = 3
Lists = tuple[Any, Any] | None  # ids and numbers, each (n_features, k)


class Writer:
    """Writes one catalogue's rows. ``neurons`` are the correlated coordinates and their coefficients."""

    def __init__(
        self, connection: sqlite3.Connection, subject: Subject, neurons: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self._connection, self._rows = connection, subject.rows
        self._vocabulary = Vocabulary(subject.lm.tokeniser)
        self._neurons, self._n = neurons, subject.dictionary.n_features
        self._dead: list[tuple[int | str, ...]] = []
        self._neighbours = neighbours(subject.dictionary.directions)
        self._promoted, self._suppressed = _logit_lists(subject)

    def feature(self, folded: Folded) -> None:
        """Write the row of one feature, and its words."""
        row = {**self._own(folded), **self._fixed(folded.feature)}
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        self._connection.execute(f"INSERT INTO features ({names}) VALUES ({marks})", tuple(row.values()))
        document, position = self._rows.locate(folded.examples[TOP][0][:EXCERPTS])
        texts = (
            self._spelled(folded.by_mass.tokens, folded.by_mean.tokens),
            self._spelled(np.array([t for t, _ in _pairs(self._promoted, folded.feature)], np.int64)),
            _contexts(self._rows.store, document, position),
        )
        living = folded.n_active > 0
        words = spelling.unlabelled(self._n, folded.feature, living, texts)
        if living:
            spelling.insert(self._connection, [words])
        else:
            self._dead.append(words)

    def effects(
        self,
        feature: int,
        rows: Integer[np.ndarray, " n"],
        effects: Float[np.ndarray, " n"],
    ) -> None:
        """Write a feature's effects on the loss at some rows, and their mean; those that are NaN are left out."""
        known = np.isfinite(effects)
        if known.any():
            documents, positions = self._rows.locate(rows[known])
            listed = _zipped(documents, positions, effects[known])
            self._connection.execute(
                "UPDATE features SET loss_effect = ?, effects = ? WHERE id = ?",
                (float(effects[known].mean()), _json(listed), feature),
            )

    def finish(self, facts: dict[str, Any]) -> None:
        """Write what holds for the whole catalogue, and the words of dead features, which come after all others."""
        spelling.insert(self._connection, self._dead)
        rows = [(name, json.dumps(fact)) for name, fact in facts.items()]
        self._connection.executemany("INSERT INTO facts VALUES (?, ?)", rows)

    def _own(self, folded: Folded) -> dict[str, Any]:
        """The columns that come from a feature's own postings."""
        histogram = folded.summary.histogram
        examples = {name: _zipped(*self._rows.locate(rows), values) for name, (rows, values) in folded.examples.items()}
        return {
            "id": folded.feature,
            "n_active": folded.n_active,
            "density": folded.n_active / max(1, len(self._rows)),
            "max": folded.summary.max,
            "mean": folded.summary.mean,
            "histogram": _json({"edges": histogram.edges, "counts": histogram.counts}),
            "intervals": _json(folded.intervals),
            "examples": _json(examples),
            "effects": "[]",
            "by_mean": self._weighted(folded.by_mean),
            "by_mass": self._weighted(folded.by_mass),
            "cofiring": _json(_zipped(*folded.cofiring)),
        }

    def _fixed(self, feature: int) -> dict[str, str]:
        """The columns that do not depend on the postings."""
        return {
            "neighbours": _json(_pairs(self._neighbours, feature)),
            "neurons": _json([(i, r) for i, r in _pairs(self._neurons, feature) if i >= 0]),
            "promoted": _json([(t, self._vocabulary[t], w, 0) for t, w in _pairs(self._promoted, feature)]),
            "suppressed": _json([(t, self._vocabulary[t], w, 0) for t, w in _pairs(self._suppressed, feature)]),
        }

    def _weighted(self, weighted: Weighted) -> str:
        return _json([(t, self._vocabulary[t], w, c) for t, w, c in _zipped(*weighted)])

    def _spelled(self, *lists: Integer[np.ndarray, " n"]) -> str:
        """Tokens as text, each once."""
        return " ".join(dict.fromkeys(self._vocabulary[t] for t in np.concatenate(lists).tolist()))


def _logit_lists(subject: Subject) -> tuple[Lists, Lists]:
    """Promoted and suppressed tokens of all features; None for a model without head or a site without linear map."""
    out = subject.lm.unembedding() if subject.lm.has_head else None
    into = None if out is None else subject.lm.to_residual(subject.target)
    if into is None or out is None:
        return None, None
    return logit_weights(subject.dictionary.directions.to(out.device), into, out)


def top_places(folded: Folded, rows: Rows, count: int) -> tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The rows and values at which a feature's effect is measured: its strongest examples that a token follows."""
    chosen, values = folded.examples[TOP]
    documents, positions = rows.locate(chosen)
    lengths = rows.store.token_offsets[documents + 1] - rows.store.token_offsets[documents]
    followed = np.flatnonzero(positions + 1 < lengths)[:count]
    return chosen[followed], values[followed]


def _contexts(store: TokenStore, documents: Integer[np.ndarray, " n"], positions: Integer[np.ndarray, " n"]) -> str:
    """The text around some places."""
    out = []
    for document, position in _zipped(documents, positions):
        base = int(store.token_offsets[document])
        first, last = max(0, position - AROUND), min(store.length(document), position + AROUND + 1)
        out.append(show(store.text(document)[store.starts[base + first] : store.ends[base + last - 1]]))
    return "\n".join(out)


def _zipped(*columns: np.ndarray) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.tolist() for column in columns), strict=True)


def _pairs(lists: Lists, feature: int) -> list[tuple[int, float]]:
    return [] if lists is None else list(_zipped(lists[0][feature], lists[1][feature]))


def _json(value: Any) -> str:
    """JSON with floats to six significant digits, which is more than half precision holds."""
    return json.dumps(_short(value), ensure_ascii=False, allow_nan=False)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(entry) for name, entry in value.items()}
    return [_short(entry) for entry in value] if isinstance(value, list | tuple | Iterator) else value
