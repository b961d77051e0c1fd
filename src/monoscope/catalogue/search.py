"""Searching a catalogue in words: labels, concepts, tokens and example text, better-tested features first."""

from __future__ import annotations

import re
import sqlite3

from monoscope.catalogue.records import Hit

WEIGHTS = (10.0, 6.0, 4.0, 2.0, 1.0)  # label, concept, tokens, promoted, context
FOUND = """
SELECT features.id, ifnull(labels.words, ''), labels.f1, features.density, {score} AS score
FROM spelled JOIN features ON features.id = spelled.rowid LEFT JOIN labels ON labels.feature = features.id
{where} ORDER BY score DESC, features.id LIMIT ?
"""
# a feature whose label is certain ranks four times as high as one without a label that matches as well
QUALITY = "(0.25 + 0.75 * ifnull(labels.f1, 0))"
BEST = """
SELECT features.id, labels.words, labels.f1, features.density, labels.f1_low
FROM labels JOIN features ON features.id = labels.feature ORDER BY labels.f1_low DESC, features.id LIMIT ?
"""


def search(connection: sqlite3.Connection, query: str, limit: int = 20) -> list[Hit]:
    """The features that match a query, best first.

    Every word of the query must occur, the last one at least as a beginning; where no feature has them all, any word
    will do. A query without letters or digits (``==``, ``->``) is looked for as it stands among the top and promoted
    tokens. The score is bm25 over weighted columns times ``0.25 + 0.75 · label F1``. An empty query lists labelled
    features by the lower end of their F1's interval.
    """
    words = re.findall(r"\w+", query.replace("\0", " "))
    if not query.strip():
        rows = connection.execute(BEST, (limit,)).fetchall()
    elif not any(c.isalnum() for word in words for c in word):
        rows = _symbols(connection, query.strip(), limit)
    else:
        rows = _words(connection, words, " AND ", limit) or _words(connection, words, " OR ", limit)
    return [Hit(i, label, float("nan") if f1 is None else f1, density, score) for i, label, f1, density, score in rows]


def _words(connection: sqlite3.Connection, words: list[str], operator: str, limit: int) -> list[tuple]:
    # words are letters, digits and underscores only; in double quotes none of them is an operator
    match = operator.join(f'"{word}"' for word in words) + "*"
    score = f"-bm25(spelled, {', '.join(map(str, WEIGHTS))}) * {QUALITY}"
    sql = FOUND.format(score=score, where="WHERE spelled MATCH ?")
    return connection.execute(sql, (match, limit)).fetchall()


def _symbols(connection: sqlite3.Connection, symbols: str, limit: int) -> list[tuple]:
    where = "WHERE instr(spelled.tokens, ?1) OR instr(spelled.promoted, ?1)"
    score = f"(1 + (instr(spelled.tokens, ?1) > 0)) * {QUALITY}"
    sql = FOUND.format(score=score, where=where).replace("LIMIT ?", "LIMIT ?2")
    return connection.execute(sql, (symbols.replace("\0", ""), limit)).fetchall()
