"""``--config FILE.toml``: flags from a file, for every verb that has that flag.

What is typed on the command line overrides what is written in the file; of its tables, key by key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection, Token
from cyclopts.config import Dict

from monoscope.errors import MonoscopeError, unknown_name

FLAG = "--config"


def fill(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give every argument that was not typed its value from the file; cyclopts calls this before it binds them.

    Raises:
        MonoscopeError: the file cannot be read, or holds a key that is no flag's name, or one twice.
    """
    flags = {argument.name.removeprefix("--"): argument for argument in arguments if argument.name.startswith("--")}
    asked = flags.pop(FLAG.removeprefix("--"), None)
    if asked is None or not asked.tokens:
        return
    path = asked.tokens[-1].value
    written = once(read(Path(path)), "-", path)
    for key in written:
        if key not in flags:
            raise unknown_name(f"key in {path}", key, flags)
    typed = {key.replace("-", "_") for key, argument in flags.items() if argument.tokens}
    tables = {key: value for key, value in written.items() if isinstance(value, dict)}
    for key, table in tables.items():
        known = typed | {token.value.partition("=")[0].strip().replace("-", "_") for token in flags[key].tokens}
        named = once(table, "_", f"[{key}] of {path}")
        for text in pairs({name: value for name, value in named.items() if name not in known}):
            flags[key].append(Token(keyword=f"--{key}", value=text, source=path, index=len(flags[key].tokens)))
    values = {key: value for key, value in written.items() if key not in tables}
    Dict(values, source=path, use_commands_as_keys=False)(app, commands, arguments)


def read(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises:
        MonoscopeError: there is none, or it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MonoscopeError(f"{path} cannot be read: {error.strerror}", fix="name a TOML file") from error
    except ValueError as error:
        raise MonoscopeError(f"{path} is no TOML: {error}", fix="write for example features = 4096") from error


def once(table: Mapping[str, Any], between: str, where: str) -> dict[str, Any]:
    """A table whose names are all spelled with ``between`` where they have a dash or an underscore.

    Raises:
        MonoscopeError: two of its names are one.
    """
    spelled: dict[str, str] = {}
    for key in table:
        other = spelled.setdefault(re.sub("[-_]", between, key), key)
        if other != key:
            raise MonoscopeError(f"{where} says both {other} and {key}, which are one", fix="leave out one of them")
    return {name: table[key] for name, key in spelled.items()}


def pairs(table: dict[str, Any]) -> list[str]:
    """A table as the ``key=value`` texts that flags take: ``[option]`` with ``penalty = 3`` is ``penalty=3``."""
    return [f"{key}={written(value)}" for key, value in table.items()]


def written(value: Any) -> str:
    """A value as it is typed: lists with commas, truths in lower case."""
    if isinstance(value, list):
        return ",".join(map(written, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
