"""Sizes as they are typed: ``384x3072,512x8192``."""

from __future__ import annotations

from monoscope.errors import MonoscopeError

DEFAULT = "384x3072,512x8192,768x24576"
Size = tuple[int, int]  # width, features


def parse(text: str) -> list[Size]:
    """Widths and numbers of features.

    Raises:
        MonoscopeError: something else.
    """
    sizes = []
    for part in text.split(","):
        width, cross, features = part.strip().partition("x")
        if not (cross and width.isdigit() and features.isdigit() and int(width) and int(features)):
            raise MonoscopeError(f"{part!r} is no size", fix=f"write WIDTHxFEATURES, such as {DEFAULT}")
        sizes.append((int(width), int(features)))
    return sizes


def name(size: Size) -> str:
    """``384x3072``."""
    return f"{size[0]}x{size[1]}"
