"""What a POST holds: a JSON object whose entries are checked one by one, before anything is done with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from starlette.requests import Request

from monoscope.errors import MonoscopeError

T = TypeVar("T")


async def body(request: Request) -> dict[str, Any]:
    """The object that a request holds; anything else counts as one without entries.

    Raises:
        MonoscopeError: it is no JSON.
    """
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise MonoscopeError(f"the request is no JSON: {error}", fix='send {"text": "…"}') from error
    return found if isinstance(found, dict) else {}


def text(given: Mapping[str, Any], name: str = "text", longest: int | None = None) -> str:
    """An entry that must be text.

    Raises:
        MonoscopeError: it is missing, something else, or too long.
    """
    found = given.get(name)
    if not isinstance(found, str):
        raise MonoscopeError(f"the request holds no {name}", fix=f'send {{"{name}": "…"}}')
    if longest is not None and len(found) > longest:
        raise MonoscopeError(f"{name} has {len(found):,} characters, more than {longest:,}", fix="shorten it")
    return found


def whole(given: Mapping[str, Any], name: str, default: T, low: int, high: int) -> int | T:
    """An entry that is a whole number between two bounds; ``default`` where there is none.

    Raises:
        MonoscopeError: it is something else.
    """
    found = given.get(name)
    if found is None:
        return default
    if type(found) is not int or not low <= found <= high:
        raise MonoscopeError(f"{name} is no whole number from {low} to {high}", fix=f'send {{"{name}": {low}}}')
    return found


def number(given: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """An entry that is a number between two bounds; ``default`` where there is none.

    Raises:
        MonoscopeError: it is something else.
    """
    found = given.get(name, default)
    if type(found) not in (int, float) or not low <= found <= high:
        raise MonoscopeError(f"{name} is no number from {low:g} to {high:g}", fix=f'send {{"{name}": {low:g}}}')
    return float(found)
