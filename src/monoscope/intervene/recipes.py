"""Recipes as TOML files: written with everything that is needed to refuse the wrong model or dictionary.

    model = "reference-a"
    fingerprint = "…"

    [[edits]]
    operation = "clamp"
    dose = 2.0
    unit = "max"
    of = { dictionary = "dictionary", feature = 12, max = 3.1, sha256 = "…" }

Paths are relative to the file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from monoscope import folder
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.intervene.edit import Condition, Direction, Edit, Recipe

NESTED = {"of": Direction, "when": Condition}


def load(path: str | Path) -> Recipe:
    """Read a recipe; its relative paths become those seen from where the program runs.

    Raises:
        MonoscopeError: there is no such file, or it is no recipe; the message says which part is wrong.
    """
    path = Path(path)
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MonoscopeError(f"{path} is no recipe: {error}", fix="name a TOML file that holds [[edits]]") from error
    if not isinstance(held.get("edits"), list):
        raise MonoscopeError(f"{path} holds no [[edits]]", fix="give it at least one")
    edits = [_made(Edit, edit, f"{path}, edit {i + 1}").at(path.parent) for i, edit in enumerate(held.pop("edits"))]
    return _made(Recipe, {**held, "edits": tuple(edits)}, str(path))


def save(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe. Paths that are under the file's folder become relative, so that the folder can be moved."""
    path = Path(path)
    head = {"model": recipe.model, "fingerprint": recipe.fingerprint, "notes": dict(recipe.notes)}
    lines = [f"{name} = {_toml(value)}" for name, value in head.items() if value not in (None, {})]
    for edit in recipe.edits:
        lines += ["", "[[edits]]", *(f"{name} = {_toml(value)}" for name, value in _held(edit, path.parent).items())]
    folder.write_bytes(path, ("\n".join(lines) + "\n").encode())


def _made(kind: type, held: Any, where: str) -> Any:
    """A dataclass from a table, its nested ones too; every key is one of its fields."""
    if not isinstance(held, Mapping):
        raise MonoscopeError(f"{where}: {held!r} is no table", fix="write it as { name = value, … }")
    names = {f.name: f for f in fields(kind)}
    for key in held:
        if key not in names:
            raise MonoscopeError(f"{where}: {unknown_name('key', key, list(names))}")
    missing = [n for n, f in names.items() if n not in held and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise MonoscopeError(f"{where} says nothing of {missing[0]}", fix=f"add {missing[0]} = …")
    made = {key: _made(NESTED[key], value, where) if key in NESTED else value for key, value in held.items()}
    try:
        return kind(**made)
    except TypeError as error:
        raise MonoscopeError(f"{where}: {error}", fix="write numbers as numbers and names in quotes") from error


def _held(value: Any, base: Path) -> dict[str, Any]:
    """A dataclass as a table of what differs from its defaults."""
    table = {}
    for f in fields(value):
        found = getattr(value, f.name)
        if found == f.default:
            continue
        if f.name in NESTED:
            found = _held(found, base)
        elif f.name in ("dictionary", "vector"):
            here, there = base.resolve(), Path(found).resolve()
            found = str(there.relative_to(here) if there.is_relative_to(here) else there)
        table[f.name] = found
    return table


def _toml(value: Any) -> str:
    """A value as TOML; strings are written as JSON writes them, which TOML reads."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
