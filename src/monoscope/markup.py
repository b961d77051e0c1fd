"""HTML by construction: every string is escaped, so that data can never become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "link", "br", "line", "circle", "rect"})
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Iterable["Child"] | None


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(child)
    return "".join(_render(c) for c in child)


def el(tag: str, attributes: dict[str, str | int | float | None] | None = None, *children: Child) -> Markup:
    """An element. An attribute of None is left out.

    >>> el("p", {"class": "a b"}, "1 < 2")
    '<p class="a b">1 &lt; 2</p>'
    """
    if not NAME.fullmatch(tag) or not all(NAME.fullmatch(name) for name in attributes or {}):
        raise ValueError(f"{tag!r} with {list(attributes or {})} is no element")
    pairs = "".join(f' {k}="{escape(str(v))}"' for k, v in (attributes or {}).items() if v is not None)
    if tag in VOID:
        return Markup(f"<{tag}{pairs}/>")
    return Markup(f"<{tag}{pairs}>{_render(children)}</{tag}>")
