"""Frozen dataclasses as TOML files: every key is a field, and what is wrong is said with its place.

A field whose type is a dataclass is a table of its own, a tuple of them an array of tables. A field marked ``PATH``
holds a path that is relative to the file when written and seen from where the program runs when read. A dataclass with
a class method ``parse`` may be written as a text.
"""

from __future__ import annotations

import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from monoscope import folder
from monoscope.errors import MonoscopeError, unknown_name

PATH: Mapping[str, bool] = {"path": True}  # the metadata of a field that holds a path

BARE = re.compile(r"[A-Za-z0-9_-]+")  # a key that TOML takes without quotes
WORDS: Mapping[type, str] = {str: "a text in quotes", bool: "true or false", int: "a whole number", float: "a number"}

T = TypeVar("T")


def load(kind: type[T], path: str | Path, what: str) -> T:
    """Read a dataclass.

    Args:
        kind: the dataclass.
        path: the file.
        what: what such a file is called, for messages.

    Raises:
        MonoscopeError: there is no such file, or it is none of these; the message says which part is wrong.
    """
    path, arrays = Path(path), _arrays(kind)
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = f"name a TOML file that holds [[{arrays[0]}]]"
        raise MonoscopeError(f"{path} is no {what}: {error}", fix=fix) from error
    for name in arrays:
        if name in _required(kind) and not isinstance(held.get(name), list):
            raise MonoscopeError(f"{path} holds no [[{name}]]", fix="give it at least one")
    made: T = _made(kind, held, str(path), path.parent)
    return made


def save(value: Any, path: str | Path) -> None:
    """Write a dataclass. Paths that are under the file's folder become relative, so that the folder can be moved."""
    path = Path(path)
    held, arrays = _held(value, path.parent), _arrays(type(value))
    lines = [f"{name} = {_toml(found)}" for name, found in held.items() if name not in arrays]
    for name in arrays:
        for table in held.get(name, ()):
            lines += ["", f"[[{name}]]", *(f"{key} = {_toml(found)}" for key, found in table.items())]
    folder.write_bytes(path, ("\n".join(lines).lstrip() + "\n").encode())


def _arrays(kind: type) -> list[str]:
    return [name for name, (_, many) in _nested(kind).items() if many]


def _required(kind: type) -> list[str]:
    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]


def _nested(kind: type) -> dict[str, tuple[type, bool]]:
    """The fields that hold dataclasses: which, and whether many of them."""
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        inner = next((t for t in (hint, *typing.get_args(hint)) if isinstance(t, type) and is_dataclass(t)), None)
        if inner is not None:
            found[name] = (inner, typing.get_origin(hint) is tuple)
    return found


def _made(kind: type, held: Any, where: str, base: Path) -> Any:
    """A dataclass from a table, its nested ones too."""
    if isinstance(held, str) and hasattr(kind, "parse"):
        return kind.parse(held)
    if not isinstance(held, Mapping):
        raise MonoscopeError(f"{where}: {held!r} is no table", fix="write it as { name = value, … }")
    names, nested, hints = {f.name: f for f in fields(kind)}, _nested(kind), typing.get_type_hints(kind)
    for key in held:
        if key not in names:
            raise MonoscopeError(f"{where}: {unknown_name('key', key, list(names))}")
        _check_type(held[key], hints[key], f"{where}: {key}")
    missing = [name for name in _required(kind) if name not in held]
    if missing:
        raise MonoscopeError(f"{where} says nothing of {missing[0]}", fix=f"add {missing[0]} = …")
    made = {key: _field(names[key], nested.get(key), value, where, base) for key, value in held.items()}
    try:
        return kind(**made)
    except TypeError as error:
        raise MonoscopeError(f"{where}: {error}", fix="write numbers as numbers and names in quotes") from error


def _check_type(value: Any, hint: Any, what: str) -> None:
    """Refuse a value that is none of a field's plain types; what is no plain type is looked at elsewhere."""
    allowed = [t for t in (hint, *typing.get_args(hint)) if t in WORDS]
    if not allowed or typing.get_origin(hint) not in (None, types.UnionType):
        return
    right = any(type(value) is t for t in allowed) or (float in allowed and type(value) is int)
    if not right:
        raise MonoscopeError(f"{what} is {value!r}", fix=f"give {WORDS[allowed[0]]}")


def _field(field: Field, nested: tuple[type, bool] | None, value: Any, where: str, base: Path) -> Any:
    if nested is None:
        is_path = field.metadata.get("path") and isinstance(value, str)
        return str(base / value) if is_path else tuple(value) if isinstance(value, list) else value
    kind, many = nested
    if not many:
        return _made(kind, value, f"{where}, {field.name}", base)
    if not isinstance(value, list):
        raise MonoscopeError(f"{where}, {field.name}: {value!r} is no list", fix="write it as [ … ]")
    one = field.name.removesuffix("s")
    return tuple(_made(kind, part, f"{where}, {one} {i + 1}", base) for i, part in enumerate(value))


def _held(value: Any, base: Path) -> dict[str, Any]:
    """A dataclass as a table of what differs from its defaults."""
    table = {}
    for f in fields(value):
        found = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if found is None or found == default:
            continue
        if is_dataclass(found):
            found = _held(found, base)
        elif isinstance(found, tuple):
            found = [_held(part, base) if is_dataclass(part) else part for part in found]
        elif f.metadata.get("path"):
            here, there = base.resolve(), Path(found).resolve()
            found = str(there.relative_to(here) if there.is_relative_to(here) else there)
        table[f.name] = found
    return table


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    """A value as TOML; strings are written as JSON writes them, which TOML reads."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
