"""The catalogue's database: its tables, its version, and how it is opened.

Lists are JSON, so that the file can be read without Monoscope. ``spelled`` is the full-text index, a row per
feature. A catalogue under construction has another file name; it gets its own by an atomic rename when it is whole.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from monoscope.errors import MonoscopeError

NAME = "catalogue.sqlite"
VERSION = 1
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
CREATE VIRTUAL TABLE spelled USING fts5 (
    label, concept, tokens, promoted, context, tokenize = 'porter unicode61 remove_diacritics 2'
);
"""


def create(path: Path) -> sqlite3.Connection:
    """A new empty database at ``path``, replacing what is there; the caller closes it.

    Raises:
        MonoscopeError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.executescript(f"PRAGMA page_size = 8192; PRAGMA user_version = {VERSION};{TABLES}")
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
    mode = "rw" if write else "ro"
    connection = None
    try:
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        # one connection belongs to one thread; only closing may happen in another, when that thread is gone
        connection = sqlite3.connect(uri, uri=True, timeout=30, check_same_thread=False)
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


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a newer version, and a database that is no catalogue."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if version > VERSION:
        raise MonoscopeError(
            f"{path.name} has format {version}; this Monoscope reads up to {VERSION}", fix="install a newer Monoscope"
        )
    if version < 1 or not {"facts", "features", "labels", "spelled"} <= tables:
        raise MonoscopeError(f"{path} is no catalogue", fix="name a folder that Monoscope wrote")
