"""Case: of the token itself, and of the identifier that it is part of."""

from __future__ import annotations

import re
from functools import lru_cache

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, matching, painted, spelled

FAMILY = "case_style"

_OWN: dict[str, tuple[str, bytes]] = {
    "lower_case": ("lower-case letters", rb"\s*[a-z]+\s*"),
    "upper_case": ("capital letters", rb"\s*[A-Z]+\s*"),
    "title_case": ("a capital and then small letters", rb"\s*[A-Z][a-z]+\s*"),
    "title_case_after_space": ("a capitalised word after a space", rb" [A-Z][a-z]+"),
    "mixed_case": ("capitals after small letters", rb"\s*[A-Za-z]*[a-z][A-Z][A-Za-z]*\s*"),
}

WORDS = {
    "in_snake_case": "in a snake_case identifier",
    "in_upper_snake_case": "in an UPPER_SNAKE_CASE identifier",
    "in_capitals": "in a word of capitals",
    "in_pascal_case": "in a PascalCase identifier",
    "in_camel_case": "in a camelCase identifier",
    "in_title_case": "in a capitalised word",
    "in_dunder": "in a __dunder__ name",
    "in_private_name": "in a name that begins with one underscore",
    "in_name_with_digit": "in a name that holds a digit",
    "in_identifier_of_four_parts": "in an identifier of four or more parts",
    "in_one_letter_name": "in a one-letter name",
    "in_long_identifier": "in an identifier of twenty letters or more",
    "identifier_first_part": "in the first part of a snake_case identifier",
    "identifier_middle_part": "in a middle part of a snake_case identifier",
    "identifier_last_part": "in the last part of a snake_case identifier",
    "camel_hump_later": "in a later part of a PascalCase or camelCase identifier",
}

IDENTIFIER = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
_STYLES: list[tuple[str, re.Pattern[bytes]]] = [
    ("in_snake_case", re.compile(rb"_*[a-z][a-z0-9]*(?:_+[a-z0-9]+)+_*")),
    ("in_upper_snake_case", re.compile(rb"_*[A-Z][A-Z0-9]*(?:_+[A-Z0-9]+)+_*")),
    ("in_capitals", re.compile(rb"[A-Z][A-Z0-9]+")),
    ("in_pascal_case", re.compile(rb"_*(?=[A-Z]+[a-z0-9]+[A-Z]|[A-Z]{2,}[a-z])[A-Z][A-Za-z0-9]*")),
    ("in_camel_case", re.compile(rb"_*[a-z][a-z0-9]*[A-Z][A-Za-z0-9]*")),
    ("in_title_case", re.compile(rb"[A-Z][a-z]+")),
    ("in_dunder", re.compile(rb"__[A-Za-z0-9_]+__")),
    ("in_private_name", re.compile(rb"_[A-Za-z0-9][A-Za-z0-9_]*")),
    ("in_name_with_digit", re.compile(rb"[A-Za-z_]+[0-9][A-Za-z0-9_]*")),
    ("in_identifier_of_four_parts", re.compile(rb"_*[A-Za-z0-9]+(?:_+[A-Za-z0-9]+){3,}_*")),
    ("in_one_letter_name", re.compile(rb"[A-Za-z]")),
    ("in_long_identifier", re.compile(rb"[A-Za-z0-9_]{20,}")),
]
_PART = re.compile(rb"[A-Za-z0-9]+")
_HUMP = re.compile(rb"(?<=[a-z0-9])[A-Z][a-z0-9]*")


def identifiers(document: Analysed) -> list[tuple[bytes, int]]:
    """The identifier-like words of the text, with their first bytes."""
    return [(m[0], m.start()) for m in IDENTIFIER.finditer(document.data)]


@lru_cache(maxsize=1 << 17)
def _shape(word: bytes) -> list[tuple[str, int, int]]:
    """What holds on which bytes of one identifier."""
    shape = [(name, 0, len(word)) for name, style in _STYLES if style.fullmatch(word)]
    parts = [m.span() for m in _PART.finditer(word)]
    if len(parts) > 1:
        places = ["first", *["middle"] * (len(parts) - 2), "last"]
        # A part includes the underscore before it, as tokens like "_name" do.
        starts = [0, *[end for _, end in parts[:-1]]]
        shape += [
            (f"identifier_{p}_part", start, end) for p, start, (_, end) in zip(places, starts, parts, strict=True)
        ]
    return shape + [("camel_hump_later", *m.span()) for m in _HUMP.finditer(word)]


def _collect(document: Analysed) -> Spans:
    spans = Spans(WORDS)
    for word, at in document.once(identifiers):
        for name, start, end in _shape(word):
            spans[name] += (at + start, at + end)
    return spans


def concepts() -> list[Concept]:
    """The family's concepts."""
    own = [spelled(FAMILY, name, words, matching(pattern)) for name, (words, pattern) in _OWN.items()]
    return own + painted(FAMILY, WORDS, _collect)
