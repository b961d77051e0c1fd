"""Filters as people type them."""

from __future__ import annotations

import math

from monoscope.errors import MonoscopeError


def interval(name: str, text: str) -> tuple[float, float]:
    """``LOW..HIGH``; an end that is left out is open.

    Raises:
        MonoscopeError: the text is written otherwise.
    """
    low, dots, high = text.partition("..")
    try:
        found = float(low or -math.inf), float(high or math.inf)
        if not dots or any(map(math.isnan, found)):
            raise ValueError(text)
    except ValueError as error:
        raise MonoscopeError(f"{text!r} is no range of {name}", fix="write LOW..HIGH, LOW.. or ..HIGH") from error
    return found
