"""The full-text index of features: what of a feature can be found by words, in the order of quality.

Row numbers carry that order, so that the first matches that SQLite finds are the best, and a search for a common word
stops after them. Feature ``f`` of ``n`` is row ``level · n + f``. Its level is 0 to 1000 for a labelled feature, by the
lower end of its label's F1 (``1000 - ⌊1000 · f1_low⌋``), then 1001 for living features without a label and 1002 for
dead ones; equal levels go by number. A label that changes moves its feature's row.

The index keeps letters and digits only. Runs of other signs in tokens (``==``, ``->``), those that a label quotes
included, are therefore also written as words of their own, one for every end of the run, in an alphabet that stemming
leaves alone: a search for signs is a search for the beginning of such a word.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence

from monoscope.catalogue import explanations, schema

LABELLED, LIVING, DEAD = 1000, 1001, 1002
COLUMNS = ("label", "concept", "explained", "tokens", "promoted", "context")
NIBBLES = "bcdfghjkmnpqrtvw"
MARK = "xz"  # before every word that stands for signs
QUOTED = re.compile("`([^`]+)`")
SIGNS = re.compile(r"[^\w\s]+")
LEVEL = f"""CASE WHEN labels.f1_low IS NOT NULL
    THEN {LABELLED} - CAST({LABELLED} * min(1.0, max(0.0, labels.f1_low)) AS INTEGER)
    WHEN features.n_active > 0 THEN {LIVING} ELSE {DEAD} END"""
KEY = f"({LEVEL}) * :n + features.id"
Texts = tuple[str, str, str]  # tokens, promoted, context


def signs_as_word(signs: str) -> str:
    """A run of signs as one word of consonants."""
    return MARK + "".join(NIBBLES[b >> 4] + NIBBLES[b & 15] for b in signs.encode("utf-8", "replace"))


def signs_of(texts: Iterable[str]) -> str:
    """The words for all signs of some tokens: every end of every run, so that a beginning finds what is inside."""
    runs = {run for text in texts for run in SIGNS.findall(text)}
    return " ".join(sorted({signs_as_word(run[i:]) for run in runs for i in range(len(run))}))


def _label(words: str) -> str:
    """A label, with the signs of the tokens that it quotes."""
    return f"{words} {signs_of(QUOTED.findall(words))}" if "`" in words else words


def unlabelled(n: int, feature: int, living: bool, texts: Texts) -> tuple[int | str, ...]:
    """The row of a feature that has no label yet."""
    key = (LIVING if living else DEAD) * n + feature
    tokens, promoted, context = texts
    return key, "", "", "", *_with_signs(tokens, promoted), context


def keys(connection: sqlite3.Connection, n: int, features: Iterable[int]) -> dict[int, int]:
    """The rows of some features, as their labels stand."""
    sql = f"SELECT {KEY} FROM features LEFT JOIN labels ON labels.feature = features.id WHERE features.id = :id"
    return {f: connection.execute(sql, {"n": n, "id": f}).fetchone()[0] for f in features}


def rewrite(connection: sqlite3.Connection, n: int, before: dict[int, int]) -> None:
    """Give features whose labels or explanations changed their new words and places; ``before`` are their old rows.

    Where most features change, the whole index is written anew, in order: that takes a fraction of the time.
    """
    if len(before) > n // 4:
        _rebuild(connection, n)
        return
    after = keys(connection, n, before)
    rows = []
    for feature, old in before.items():
        held = connection.execute("SELECT tokens, promoted, context FROM words WHERE rowid = ?", (old,)).fetchone()
        rows.append((after[feature], *_names(connection, feature), *held))
    connection.executemany("DELETE FROM words WHERE rowid = ?", [(old,) for old in sorted(before.values())])
    insert(connection, sorted(rows))


def _rebuild(connection: sqlite3.Connection, n: int) -> None:
    """Write the index anew from itself, the labels and the explanations."""
    connection.execute("DROP TABLE IF EXISTS temp.held")
    connection.execute("CREATE TEMP TABLE held (id INTEGER PRIMARY KEY, tokens, promoted, context)")
    connection.execute(
        "INSERT INTO held SELECT rowid % ?, tokens, promoted, context FROM words ORDER BY rowid % ?", (n, n)
    )
    connection.execute("DELETE FROM words")
    _fill(connection, connection, n, "temp.held")
    connection.execute("DROP TABLE temp.held")


def fill(source: sqlite3.Connection, target: sqlite3.Connection, n: int) -> None:
    """Write the index of a catalogue of version 1 from its own, ``spelled``, into the empty table of ``target``."""
    _fill(source, target, n, "spelled", _with_signs)


def _fill(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    n: int,
    held: str,
    spell: Callable[[str, str], tuple[str, str]] = lambda tokens, promoted: (tokens, promoted),
) -> None:
    """Write every feature's row, in order; ``held`` is a table with its tokens, promoted tokens and contexts."""
    rows = source.execute(
        f"""SELECT {KEY} AS key, features.id, ifnull(labels.words, ''), ifnull(labels.concept, ''),
        held.tokens, held.promoted, held.context
        FROM features JOIN {held} AS held ON held.rowid = features.id LEFT JOIN labels ON labels.feature = features.id
        ORDER BY key""",
        {"n": n},
    )
    said = _explained(source)
    insert(
        target,
        (
            (key, _label(label), concept, said.get(feature, ""), *spell(tokens, promoted), context)
            for key, feature, label, concept, tokens, promoted, context in rows
        ),
    )


def _with_signs(tokens: str, promoted: str) -> tuple[str, str]:
    """Both lists, each with the words for its signs at the end."""
    return f"{tokens} {signs_of([tokens])}", f"{promoted} {signs_of([promoted])}"


def insert(connection: sqlite3.Connection, rows: Iterable[Sequence[int | str]]) -> None:
    """Add rows, ascending: SQLite begins a new segment of the index at every step back."""
    marks = ", ".join("?" * (1 + len(COLUMNS)))
    connection.executemany(f"INSERT INTO words (rowid, {', '.join(COLUMNS)}) VALUES ({marks})", rows)


def copied(connection: sqlite3.Connection, rows: Sequence[int]) -> sqlite3.Connection:
    """An index in memory of some rows alone, which answers as the whole one would if it had no others."""
    few = sqlite3.connect(":memory:")
    few.execute(schema.FEW)
    held = (
        f"SELECT rowid, {', '.join(COLUMNS)} FROM words WHERE rowid IN (SELECT value FROM json_each(?)) ORDER BY rowid"
    )
    insert(few, connection.execute(held, (json.dumps(rows),)))
    return few


def _names(connection: sqlite3.Connection, feature: int) -> tuple[str, str, str]:
    """A feature's label, concept and explanations."""
    row = connection.execute("SELECT words, concept FROM labels WHERE feature = ?", (feature,)).fetchone() or ("", "")
    said = explanations.read_explanations(connection, feature)
    return _label(row[0]), row[1], "\n".join(text for e in said for text in (e.fires_on, e.promotes))


def _explained(connection: sqlite3.Connection) -> dict[int, str]:
    """All explanations by feature."""
    out: dict[int, str] = {}
    for e in explanations.read_explanations(connection):
        out[e.feature] = "\n".join([*([out[e.feature]] if e.feature in out else []), e.fires_on, e.promotes])
    return out
