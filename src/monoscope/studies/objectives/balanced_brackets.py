"""Brackets match: every one that closes, closes the last that was opened, and what was said leaves none open.

Only whole lines count, a continuation ends anywhere. Brackets in strings and comments count like any others, so that
text that is not Python can be judged too.
"""

from __future__ import annotations

PAIRS = {")": "(", "]": "[", "}": "{"}


def score(prompt: str, said: str) -> float:
    """1 where they match, else 0."""
    given = _walk([], prompt)
    if given is None:  # the prompt is out of order already: what is said is judged alone
        given = []
    depth, lines = len(given), said[: said.rfind("\n") + 1]
    left = _walk(given, lines)
    return float(bool(lines) and left is not None and len(left) <= depth)


def _walk(opened: list[str], text: str) -> list[str] | None:
    """What is open after a text; None where one closes that does not match."""
    opened = list(opened)
    for character in text:
        if character in PAIRS.values():
            opened.append(character)
        elif character in PAIRS and (not opened or opened.pop() != PAIRS[character]):
            return None
    return opened
