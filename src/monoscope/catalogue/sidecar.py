"""Small SQLite files that stand beside a catalogue and hold what people add to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monoscope.errors import MonoscopeError


@contextmanager
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work, committed whole or not at all; the file is made if it is not there.

    Raises:
        MonoscopeError: the file cannot be opened, read or written.
        sqlite3.IntegrityError: what is written contradicts what is there; the caller knows what that means.
    """
    opened = None
    try:
        opened = sqlite3.connect(path, timeout=30)
        with opened:
            yield opened
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise MonoscopeError(
            f"{path.name} cannot be used: {error}", where=str(path.parent), fix="move the file elsewhere"
        ) from error
    finally:
        if opened is not None:
            opened.close()
