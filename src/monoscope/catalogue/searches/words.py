"""By words in labels, explanations, tokens and example text; better-tested features first.

Every word must occur, the last one at least as a beginning; where no feature has them all, any word will do. Features
that have the words in their label, its concept or an explanation come first, then those with the last word only begun
there; then the same among the tokens they fire on, among those they promote, and anywhere, the text of their examples
included. Among these the lower end of the label's F1 decides, then the number. The score says both: its whole part is 8
to 1 in this order, and 0 where only some words occur; its fraction is that F1.

A query without letters or digits (``==``, ``->``) is looked for in the tokens that labels quote, then in tokens. An
empty one lists labelled features, or, with filters, all that pass them.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue import spelling
from monoscope.catalogue.searching import Found, Query, one_text

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue

PLACES = ("{label concept explained} : ", "tokens : ", "promoted : ", "")
LEAST = 0.9995  # a fraction of one is a score of the next whole number
MOST_WORDS = 64  # of a query; what follows is not looked for
BATCH = 512  # matches fetched at once
COPY = 200  # walked matches that cost as much as copying one row: 0.25 µs against 50 µs (a label, 90 words)
BLOCK = 1 << 14  # features looked at at once in the order of quality


def search(query: Query, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """See the file."""
    text = one_text(query, "words").replace("\0", " ").encode("utf-8", "replace").decode()
    words = [word for word in re.findall(r"\w+", text) if any(c.isalnum() for c in word)][:MOST_WORDS]
    if not text.strip():
        return _by_quality(catalogue, kept, query.limit)
    if words:
        stages = _stages(words)
    else:
        signs = [spelling.signs_as_word(run) for run in text.split()[:MOST_WORDS]]
        match = " AND ".join(f'"{word}" *' for word in signs)
        stages = [(8 - 2 * i, f"{place}({match})") for i, place in enumerate(PLACES[:3])]
    found = _Collector(len(catalogue), query.limit)
    with closing(_Walk(catalogue, kept)) as walk:
        for rank, match in stages:
            if found.full or (rank == 0 and found.keys):
                break
            found.take(rank, walk.matches(match))
    return found.result()


def _stages(words: list[str]) -> list[tuple[int, str]]:
    """Rank and expression, best first. Words are letters, digits and underscores: in quotes none is an operator."""
    quoted = [f'"{word}"' for word in words]
    whole = " AND ".join(quoted)
    stages = []
    for i, place in enumerate(PLACES):
        stages += [(8 - 2 * i, f"{place}({whole})"), (7 - 2 * i, f"{place}({whole} *)")]
    return [*stages, (0, " OR ".join(quoted) + " *")]


class _Collector:
    """Takes matches in the order of rows until there are enough, each feature once."""

    def __init__(self, n: int, limit: int) -> None:
        self._n, self._limit = n, limit
        self.keys: dict[int, float] = {}  # feature → score

    @property
    def full(self) -> bool:
        return len(self.keys) >= self._limit

    def take(self, rank: int, matches: Iterator[Int[np.ndarray, " m"]]) -> None:
        """The rows that match one expression."""
        for rows in matches:
            for feature, level in zip((rows % self._n).tolist(), (rows // self._n).tolist(), strict=True):
                if feature not in self.keys:
                    self.keys[feature] = rank + quality(level)
                    if self.full:
                        return

    def result(self) -> Found:
        return Found(np.array([*self.keys], np.int64), np.array([*self.keys.values()]))


class _Walk:
    """Matches among the kept features, row by row; in an index of these alone once that is the cheaper way."""

    def __init__(self, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> None:
        self._n, self._kept, self._words = len(catalogue), kept, catalogue.searched
        self._few: sqlite3.Connection | None = None
        self._first, self._last, self._left = 0, (spelling.DEAD + 1) * self._n, math.inf
        if kept is not None:
            self._levels = catalogue.features.levels
            levels = self._levels[kept]
            self._first, self._last = int(levels.min()) * self._n, (int(levels.max()) + 1) * self._n
            self._left = COPY * len(levels)

    def matches(self, match: str) -> Iterator[Int[np.ndarray, " m"]]:
        """Row numbers, ascending, in batches."""
        first = self._first
        while self._few is None:
            for rows in _rows(self._words, match, first, self._last):
                yield rows if self._kept is None else rows[self._kept[rows % self._n]]
                first, self._left = int(rows[-1]) + 1, self._left - len(rows)
                if self._left < 0:
                    self._few = self._copy()
                    break
            else:
                return
        yield from _rows(self._few, match, first, self._last)

    def _copy(self) -> sqlite3.Connection:
        assert self._kept is not None  # without filters nothing is ever worth copying
        ids = np.flatnonzero(self._kept)
        return spelling.copied(self._words, np.sort(self._levels[ids].astype(np.int64) * self._n + ids).tolist())

    def close(self) -> None:
        if self._few is not None:
            self._few.close()


def quality(level: int) -> float:
    """The lower end of F1 that a level stands for, to a thousandth; 0 without a label."""
    return min(LEAST, max(0, spelling.LABELLED - level) / spelling.LABELLED)


def _rows(words: sqlite3.Connection, match: str, first: int, last: int) -> Iterator[Int[np.ndarray, " m"]]:
    """The rows from ``first`` to before ``last`` that match, ascending, in batches."""
    sql = "SELECT rowid FROM words WHERE words MATCH ? AND rowid >= ? AND rowid < ? ORDER BY rowid"
    cursor = words.execute(sql, (match, first, last))
    while batch := cursor.fetchmany(BATCH):
        yield np.array(batch, np.int64)[:, 0]


def _by_quality(catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None, limit: int) -> Found:
    """The best-tested features, without words."""
    columns, chosen, n = catalogue.features, [np.zeros(0, np.int64)], 0
    for first in range(0, len(columns.order), BLOCK):
        ids = columns.order[first : first + BLOCK]
        chosen.append(ids[columns.levels[ids] <= spelling.LABELLED] if kept is None else ids[kept[ids]])
        n += len(chosen[-1])
        if n >= limit or (kept is None and len(chosen[-1]) < len(ids)):
            break
    ids = np.concatenate(chosen)[:limit]
    scores: Float[np.ndarray, " n"] = np.array([quality(level) for level in columns.levels[ids].tolist()])
    return Found(ids, scores)
