"""Showing tokens that are bytes: byte-level tokens may cut a character in two.

A character is shown on the token that holds its last byte. Bytes of a character that is not finished within the token
are shown as hex, ``\\xc3``, so that no token is invisible; what a token looks like depends on its document only, never
on where an excerpt begins or ends. Bytes between two tokens (the spaces that a WordPiece tokenizer drops) are shown
with the token after them; tokens that cover the same bytes show them each.
"""

from __future__ import annotations

from jaxtyping import Integer
from numpy import ndarray


def hexed(data: bytes) -> str:
    """Bytes as ``\\xc3\\xa9``."""
    return "".join(f"\\x{b:02x}" for b in data)


def show(data: bytes) -> str:
    """Bytes as text; those that are no whole character as hex."""
    out = []
    while data:
        try:
            out.append(data.decode())
            break
        except UnicodeDecodeError as error:
            out.append(data[: error.start].decode() + hexed(data[error.start : error.end]))
            data = data[error.end :]
    return "".join(out)


def shown(
    text: bytes, starts: Integer[ndarray, " n"], ends: Integer[ndarray, " n"], first: int, last: int
) -> list[str]:
    """The tokens ``first`` to ``last`` (exclusive) of a document, as shown.

    Args:
        text: the document's UTF-8 text.
        starts: first byte of each of its tokens.
        ends: byte after the last of each.
        first: first token wanted.
        last: token after the last one wanted.
    """
    out = []
    before = int(ends[first - 1]) if first else None
    for begin, end in zip(starts[first:last].tolist(), ends[first:last].tolist(), strict=True):
        if before is not None and before < begin:
            begin = before
        before = end
        out.append(show(text[_character_start(text, begin, end) : end]))
    return out


def _character_start(text: bytes, begin: int, end: int) -> int:
    """Where the character at byte ``begin`` starts if it ends before ``end``; else ``begin``."""
    lead = begin
    while 0 < lead < end and text[lead] & 0b1100_0000 == 0b1000_0000:
        lead -= 1
    if lead == begin:
        return begin
    length = 2 + (text[lead] >= 0xE0) + (text[lead] >= 0xF0)
    return lead if lead + length <= end else begin
