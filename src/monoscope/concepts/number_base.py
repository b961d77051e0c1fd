"""Numbers, by how they are written, anywhere in a text."""

from __future__ import annotations

import re

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted

FAMILY = "number_base"

WORDS = {
    "in_integer": "in a decimal integer",
    "in_one_digit_integer": "in an integer of one digit",
    "in_long_integer": "in an integer of five digits or more",
    "in_zero": "in the number 0",
    "in_one": "in the number 1",
    "in_power_of_two": "in a power of two from 8 up",
    "in_year": "in a year",
    "in_hex_literal": "in a number in hexadecimal",
    "in_octal_literal": "in a number in octal",
    "in_binary_literal": "in a number in binary",
    "in_float": "in a number with a decimal point",
    "after_decimal_point": "after the decimal point of a number",
    "in_exponent_number": "in a number with an exponent",
    "in_imaginary": "in an imaginary number",
    "in_version": "in a version number",
    "in_negative_number": "in a number after a minus sign",
    "in_percentage": "in a percentage",
    "in_ordinal": "in an ordinal such as 2nd",
    "number_list": "in a list of numbers",
}

_NUMBER = re.compile(
    rb"(?<![\w.])(?:"
    rb"(?P<in_hex_literal>0[xX][0-9a-fA-F_]+)|(?P<in_octal_literal>0[oO][0-7_]+)|(?P<in_binary_literal>0[bB][01_]+)"
    rb"|(?P<in_version>\d+\.\d+\.\d[\w.]*)"
    rb"|(?P<in_exponent_number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][+-]?\d[\d_]*)[jJ]?"
    rb"|(?P<in_imaginary>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[jJ])"
    rb"|(?P<in_float>\d[\d_]*\.\d[\d_]*|\.\d[\d_]*)"
    rb"|(?P<in_ordinal>\d+(?:st|nd|rd|th))"
    rb"|(?P<in_integer>\d[\d_]*)(?!\w))"
)
_LIST = re.compile(rb"[-+]?\d[\d.]*(?:[eE][-+]?\d+)?(?:\s*,\s*[-+]?\d[\d.]*(?:[eE][-+]?\d+)?){2,}")
_POWERS = {str(2**i).encode() for i in range(3, 33)}
_YEAR = re.compile(rb"(?:19|20)\d\d")


def _integer(word: bytes) -> list[str]:
    """What more can be said of a decimal integer."""
    holds = {
        "in_one_digit_integer": len(word) == 1,
        "in_long_integer": len(word) >= 5,
        "in_zero": word == b"0",
        "in_one": word == b"1",
        "in_power_of_two": word in _POWERS,
        "in_year": _YEAR.fullmatch(word) is not None,
    }
    return [name for name, true in holds.items() if true]


def _collect(document: Analysed) -> Spans:
    spans, data = Spans(WORDS), document.data
    for match in _NUMBER.finditer(data):
        kind = match.lastgroup
        assert kind is not None  # every alternative is named
        start, end = match.span()
        spans.add(kind, (start, end))
        if kind == "in_integer":
            for name in _integer(match[0]):
                spans.add(name, (start, end))
        elif kind == "in_float":
            spans.add("after_decimal_point", (start + match[0].index(b".") + 1, end))
        if data[start - 1 : start] == b"-":
            spans.add("in_negative_number", (start - 1, end))
        if data[end : end + 1] == b"%":
            spans.add("in_percentage", (start, end + 1))
    for match in _LIST.finditer(data):
        spans.add("number_list", match.span())
    return spans


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted(FAMILY, WORDS, _collect)
