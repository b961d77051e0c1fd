"""Foreign configurations: JSON from anyone, read within limits and asked for by type."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from monoscope.errors import MonoscopeError

LIMIT = 16 * 2**20
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "an object",
}
T = TypeVar("T", bool, int, float, str, dict)


class Config:
    """A JSON object and the file it came from; remembers which keys were asked for."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values, self.where = values, where
        self.asked: set[str] = set()

    def get(self, name: str, kind: type[T], default: T | None = None) -> T | None:
        """The value of ``name`` if it is there and not null.

        Raises:
            MonoscopeError: it is of another type than ``kind``.
        """
        self.asked.add(name)
        value = self.values.get(name)
        if value is None:
            return default
        right = (int, float) if kind is float else kind
        if not isinstance(value, right) or (isinstance(value, bool) and kind is not bool):
            raise MonoscopeError(
                f"{name} is {str(value)[:60]}, not {_KINDS[kind]}", where=self.where, fix="correct the file"
            )
        try:
            return float(value) if kind is float else value  # type: ignore[return-value, arg-type]
        except OverflowError as error:
            raise MonoscopeError(f"{name} is beyond all bounds", where=self.where, fix="correct the file") from error

    def need(self, name: str, kind: type[T]) -> T:
        """The value of ``name``, which must be there."""
        value = self.get(name, kind)
        if value is None:
            raise MonoscopeError(f"{name} is missing", where=self.where, fix="take the file from its source again")
        return value

    def part(self, name: str) -> Config:
        """The object within this one that is called ``name``, or an empty one."""
        return Config(self.get(name, dict) or {}, self.where)

    def unread(self, known: Iterable[str] = ()) -> list[str]:
        """Keys that nobody asked for and that are not ``known`` to change nothing."""
        return sorted(set(self.values) - self.asked - set(known))


def read(path: Path) -> Config:
    """The JSON object in ``path``.

    Raises:
        MonoscopeError: missing, too large, no JSON object, or text that is no text.
    """
    where = str(path)
    try:
        if path.stat().st_size > LIMIT:
            raise MonoscopeError(
                f"{path.name} is larger than {LIMIT >> 20} MiB", where=where, fix="is it the right file?"
            )
        values = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(values, ensure_ascii=False).encode()  # lone surrogates could not be written again
    except (OSError, ValueError, RecursionError) as error:
        raise MonoscopeError(
            f"{path.name} cannot be read: {error}", where=where, fix="take the file from its source again"
        ) from error
    if not isinstance(values, dict):
        raise MonoscopeError(f"{path.name} holds no JSON object", where=where, fix="is it the right file?")
    return Config(values, where)
