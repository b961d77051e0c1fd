"""The catalogue's database: its tables, its version, and how it is opened.

Lists are JSON, so that the file can be read without Monoscope. ``words`` is the full-text index, a row per feature
whose number is its place in the order of quality (``spelling``); ``columns`` holds whole columns as arrays, so that
filters need not visit every row (``columns``). A catalogue under construction has another file name; it gets its own by
an atomic rename when it is whole.

Version 1 had neither: its full-text index ``spelled`` was numbered by feature. Such a file is read as it is, and
becomes one of version 2 when something is written to it (``upgrade``).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from monoscope.errors import MonoscopeError

NAME = "catalogue.sqlite"
VERSION = 2
TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;          -- value is JSON
CREATE TABLE features (
    id INTEGER PRIMARY KEY,
    n_active INTEGER NOT NULL,      -- tokens on which it fires
    density REAL NOT NULL,          -- their fraction
    max REAL NOT NULL,
    mean REAL NOT NULL,             -- over the tokens on which it fires
    loss_effect REAL,               -- nats; NULL where it could not be measured
    histogram TEXT NOT NULL,        -- {"edges": [...], "counts": [...]}
    intervals TEXT NOT NULL,        -- {group: [lowest value, highest value]}
    examples TEXT NOT NULL,         -- {group: [[document, position, value], ...]}
    effects TEXT NOT NULL,          -- [[document, position, loss effect], ...]
    by_mean TEXT NOT NULL,          -- [[token id, text, weight, count], ...], also the next three
    by_mass TEXT NOT NULL,
    promoted TEXT NOT NULL,
    suppressed TEXT NOT NULL,
    neighbours TEXT NOT NULL,       -- [[feature, cosine], ...]
    cofiring TEXT NOT NULL,         -- [[feature, phi], ...]
    neurons TEXT NOT NULL           -- [[coordinate, Pearson r], ...]
);
CREATE TABLE labels (
    feature INTEGER PRIMARY KEY REFERENCES features (id),
    kind TEXT NOT NULL, concept TEXT NOT NULL, words TEXT NOT NULL, threshold REAL NOT NULL,
    precision REAL NOT NULL, recall REAL NOT NULL, f1 REAL NOT NULL, f1_low REAL NOT NULL, f1_high REAL NOT NULL,
    baseline_f1 REAL NOT NULL, support INTEGER NOT NULL, documents INTEGER NOT NULL
);
"""
SPELLED = "label, concept, explained, tokens, promoted, context, tokenize = 'porter unicode61 remove_diacritics 2'"
SEARCHED = f"""
CREATE VIRTUAL TABLE words USING fts5 ({SPELLED}, prefix = '1 2 3 4');
CREATE TABLE columns (name TEXT PRIMARY KEY, dtype TEXT NOT NULL, data BLOB NOT NULL);  -- an entry per feature
"""
FEW = f"CREATE VIRTUAL TABLE words USING fts5 ({SPELLED}, content = '', columnsize = 0)"  # of some rows, for a search


def create(path: Path, tables: str = TABLES + SEARCHED) -> sqlite3.Connection:
    """A new empty database at ``path``, replacing what is there; the caller closes it.

    Raises:
        MonoscopeError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript(f"PRAGMA page_size = 8192; PRAGMA user_version = {VERSION};{tables}")
    except (OSError, sqlite3.Error) as error:
        raise MonoscopeError(
            f"cannot write {path.name}: {error}", where=str(path.parent), fix="free some space or choose another folder"
        ) from error
    return connection


def connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """Open a finished database, for reading only unless asked otherwise.

    Raises:
        MonoscopeError: it is missing, no catalogue, damaged, or made by a newer Monoscope.
    """
    if not path.is_file():
        raise MonoscopeError(
            f"there is no finished catalogue in {path.parent}", fix="name a run's folder, or build its catalogue first"
        )
    connection = None
    try:
        connection = open_file(path, write=write)
        _check(connection, path)
    except (sqlite3.Error, MonoscopeError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, MonoscopeError):
            raise
        raise MonoscopeError(
            f"{path.name} is damaged: {error}", where=str(path.parent), fix="remove the file and build it again"
        ) from error
    return connection


def open_file(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """A connection to a database, whatever it holds."""
    uri = f"{path.resolve().as_uri()}?mode={'rw' if write else 'ro'}"
    # one connection belongs to one thread; only closing may happen in another, when that thread is gone
    return sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)


def version(connection: sqlite3.Connection) -> int:
    """The version of the database's tables."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a newer version, and a database that is no catalogue."""
    found = version(connection)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if found > VERSION:
        raise MonoscopeError(
            f"{path.name} has format {found}; this Monoscope reads up to {VERSION}", fix="install a newer Monoscope"
        )
    if found < 1 or not {"facts", "features", "labels", "spelled" if found == 1 else "words"} <= tables:
        raise MonoscopeError(f"{path} is no catalogue", fix="name a folder that Monoscope wrote")
