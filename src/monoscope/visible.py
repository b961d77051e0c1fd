"""Text of tokens made visible: whitespace, control characters and invisible ones as quiet marks.

What a token holds is not to be trusted: an escape sequence would drive the terminal, a bidirectional override would
turn the line around.
"""

from __future__ import annotations

import re

MARKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]| +")
LONGEST_RUN = 4  # a longer run of spaces is cut: indentation would fill the line


def _mark(found: str) -> str:
    if found[0] == " ":
        return "·" * min(len(found), LONGEST_RUN)
    if found in "\n\t":
        return "↵" if found == "\n" else "⇥"
    code = ord(found)
    return chr(0x2400 + code) if code < 0x20 else f"⟨{code:04x}⟩"


def visible(text: str, *, spaces: bool = False) -> list[tuple[str, bool]]:
    """Text as (piece, whether it is a mark) on one line; single spaces between words stay spaces unless ``spaces``."""
    pieces: list[tuple[str, bool]] = []
    last = 0
    for found in MARKS.finditer(text):
        if found[0] == " " and text != " " and not spaces:
            continue
        if found.start() > last:
            pieces.append((text[last : found.start()], False))
        pieces.append((_mark(found[0]), True))
        last = found.end()
    if last < len(text):
        pieces.append((text[last:], False))
    return pieces


def label_parts(words: str) -> list[tuple[str, bool]]:
    """A label as (part, whether it is a token): what stands between backticks is a token."""
    parts = re.split(r"`([^`]+)`", words)
    return [(plain(part), bool(i % 2)) for i, part in enumerate(parts) if part]


def plain(text: str) -> str:
    """The same as one string."""
    return "".join(piece for piece, _ in visible(text))


def safe(text: str) -> str:
    """Text with its spaces and lines as they are, and every other control character as a mark."""
    return "".join(
        part if part.isspace() and part.strip(" \n\t") == "" else plain(part) for part in re.split(r"([ \n\t]+)", text)
    )
