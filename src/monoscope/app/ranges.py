"""Filters and lists of numbers as people type them."""

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


def numbers(name: str, text: str) -> list[float]:
    """Numbers with commas between.

    Raises:
        MonoscopeError: one of them is no number.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise MonoscopeError(
            f"{text!r} are no {name}", fix="write numbers with commas between, such as 1,2,4"
        ) from error
    return found


def whole_numbers(name: str, text: str) -> list[int]:
    """Whole numbers with commas between; "" is none.

    Raises:
        MonoscopeError: one of them is no whole number.
    """
    found = numbers(name, text) if text.strip() else []
    if not all(number.is_integer() for number in found):
        raise MonoscopeError(f"{text!r} are no {name}", fix="write whole numbers with commas between")
    return [int(number) for number in found]
