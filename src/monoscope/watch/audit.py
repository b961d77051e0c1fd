"""The audit log: one JSON object a line, each with the SHA-256 of the line before: no line can be changed alone.

What the chain cannot show is that lines at the end were cut off, or that all of it was written anew. Keep the last hash
elsewhere for that: ``verify`` gives it, and compares it with one that was kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monoscope import folder
from monoscope.errors import MonoscopeError

FIRST = "0" * 64


class Audit:
    """Appends to a log; goes on with the chain of one that is there."""

    def __init__(self, path: str | Path) -> None:
        """Open the log. One program at a time writes into it.

        Raises:
            MonoscopeError: another program writes into it, it cannot be written, or its chain is broken.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise folder.unwritable(self.path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise MonoscopeError(f"another program writes into {self.path}", fix="name another file") from error
        self._go_on()

    def _go_on(self) -> None:
        """Take up the chain; half a line at the end, of a program that was killed, is cut off, and the log says so."""
        found = verify(self.path)
        if found.broken is not None:
            raise MonoscopeError(f"{self.path} was changed: line {found.broken}", fix="keep it, and name a new file")
        self.head = found.head
        if found.torn:
            assert self._file is not None
            os.ftruncate(self._file, self.path.stat().st_size - found.torn)
            self.write({"recovered": f"{found.torn} bytes of a line that was not finished were cut off"})

    def write(self, told: Mapping[str, Any]) -> None:
        """Append a line, by one call, with the time and the hash of the line before.

        Raises:
            MonoscopeError: it cannot be written, or the log is closed.
        """
        if self._file is None:
            raise MonoscopeError(f"{self.path} is closed", fix="open it again")
        line = json.dumps({"time": datetime.now(UTC).isoformat(), **told, "previous": self.head}, ensure_ascii=False)
        try:
            os.write(self._file, line.encode() + b"\n")
        except OSError as error:
            raise folder.unwritable(self.path, error) from error
        self.head = hashlib.sha256(line.encode()).hexdigest()

    def close(self) -> None:
        """Let another program write."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@dataclass(frozen=True)
class Verified:
    """What a look at a log found.

    Args:
        lines: how many are whole and follow from one another.
        head: the hash of the last of them.
        broken: the number of the first line, from 1, that does not follow from the one before; None if all do.
        torn: bytes at the end that are no whole line.
    """

    lines: int
    head: str
    broken: int | None
    torn: int


def verify(path: str | Path) -> Verified:
    """Follow a log's chain.

    Raises:
        MonoscopeError: there is no such file.
    """
    head, number = FIRST, 0
    try:
        with Path(path).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return Verified(number, head, None, len(line))
                if _previous(line) != head:
                    return Verified(number, head, number + 1, 0)
                head, number = hashlib.sha256(line[:-1]).hexdigest(), number + 1
    except OSError as error:
        raise MonoscopeError(f"{path} cannot be read: {error.strerror}", fix="name an audit log") from error
    return Verified(number, head, None, 0)


def _previous(line: bytes) -> str | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told.get("previous") if isinstance(told, dict) else None
