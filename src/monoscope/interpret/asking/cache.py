"""What models answered before, on disk: a line of JSON for each answer, only ever appended to.

A line is written whole, by one call, before anyone is told of the answer. A process that is killed leaves at most a
torn last line, which is passed over and ended before the next one is written. Lines with a ``failure`` are there for
readers; they are no answers, and what failed is asked again.

Neither prompts nor keys nor addresses are written: an answer is known by the SHA-256 of the model's name and the whole
prompt.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.interpret.chat import Answer, Prompt


def key(model: str, prompt: Prompt) -> str:
    """What an answer is known by: a hash of the model's name and everything that a prompt holds."""
    told = {"model": model, **asdict(prompt)}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=dict).encode("utf-8", "surrogatepass")).hexdigest()


class Cache:
    """Answers by key; one process at a time, any number of its threads. Texts stay on disk until they are asked for."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            MonoscopeError: another process has it open, or it cannot be written.
        """
        self.path = path
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise folder.unwritable(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise MonoscopeError(
                f"{path.name} is in use by another process", where=str(path.parent), fix="wait for it, or end it"
            ) from error
        self._read()

    def _read(self) -> None:
        place = 0
        with self.path.open("rb") as lines:
            for line in lines:
                found = _parsed(line)
                if found is not None and "failure" not in found:
                    self._places[bytes.fromhex(found["key"])] = place
                place += len(line)
            whole = line.endswith(b"\n") if place else True
        if not whole:
            os.write(self._file, b"\n")

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def get(self, key: str) -> Answer | None:
        """The answer of this key, if there is one."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        with self._lock, self.path.open("rb") as file:
            file.seek(place)
            found = _parsed(file.readline())
        return None if found is None else Answer(**{name: found[name] for name in _FIELDS})

    def add(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer, or the record of a failure; it is on disk when this returns.

        Raises:
            MonoscopeError: it cannot be written.
        """
        told = asdict(answer)
        if answer.failure:
            told = {"failure": answer.failure}
        else:
            del told["failure"]
        line = json.dumps({"key": key, "model": model, **told}).encode() + b"\n"
        try:
            with self._lock:
                place = os.lseek(self._file, 0, os.SEEK_END)
                written = os.write(self._file, line)
                if written != len(line):  # a full disk: the torn line is ended so that the next one is whole
                    os.write(self._file, b"\n")
                    raise OSError(28, "No space left on device")
        except OSError as error:
            raise folder.unwritable(self.path, error) from error
        if not answer.failure:
            self._places[bytes.fromhex(key)] = place

    def close(self) -> None:
        """Let other processes have the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


_FIELDS = ("text", "prompt_tokens", "answer_tokens", "truncated")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line, if it is a whole record."""
    try:
        found = json.loads(line)
        whole = len(found["key"]) == 64 and ("failure" in found or all(name in found for name in _FIELDS))
        bytes.fromhex(found["key"])
    except (ValueError, KeyError, TypeError):
        return None
    return found if whole else None
