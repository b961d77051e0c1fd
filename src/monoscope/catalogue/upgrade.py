"""Catalogues of version 1: read through an index made beside them, and made ones of version 2 when written to."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import weakref
from pathlib import Path

from monoscope.catalogue import columns, schema, spelling
from monoscope.catalogue.index import FeatureIndex


def in_place(connection: sqlite3.Connection, index: FeatureIndex) -> None:
    """Make a catalogue of version 1 one of version 2, in the caller's transaction."""
    for statement in schema.SEARCHED.split(";\n"):
        if statement.strip() and not statement.strip().startswith("--"):
            connection.execute(statement)
    _fill(connection, connection, index)
    connection.execute("DROP TABLE spelled")
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")


class Beside:
    """The searched tables of a catalogue of version 1, in a temporary file that goes when this object does."""

    def __init__(self, source: sqlite3.Connection, index: FeatureIndex) -> None:
        folder = Path(tempfile.mkdtemp(prefix="monoscope-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = folder / schema.NAME
        target = schema.create(self.path, schema.SEARCHED)
        try:
            with target:
                _fill(source, target, index)
        finally:
            target.close()


def _fill(source: sqlite3.Connection, target: sqlite3.Connection, index: FeatureIndex) -> None:
    spelling.fill(source, target, len(index))
    columns.write_own(source, target, index)
    columns.write_labels(source, target)
