"""Labels in words and in writing."""

from __future__ import annotations

import pytest

from monoscope.concepts import PLACES, Concept, concept
from monoscope.interpret.claims import AND, AND_NOT, OR
from monoscope.interpret.wording import Term, TokensAt, in_words, in_writing, spelled

CONCEPTS = {
    name: Concept(name, words, "f", lambda d: d.nothing())
    for name, words in {
        "in_docstring": "inside a docstring",
        "digits": "digits alone",
        "in_call": "in the arguments of a call",
        "py_name": "a Python name",
    }.items()
}
AT = {place.name: place for place in PLACES}


def claim(*parts):
    """Terms from (join, concept) or (join, place, tokens)."""
    return [
        Term(join, CONCEPTS[what] if not tokens else TokensAt(AT[what], tokens[0])) for join, what, *tokens in parts
    ]


@pytest.mark.parametrize(
    ("parts", "writing", "words"),
    [
        ([(AND, "in_docstring")], "in_docstring", "inside a docstring"),
        ([(AND, "digits"), (AND, "in_docstring")], "digits & in_docstring", "digits alone inside a docstring"),
        ([(AND, "in_docstring"), (AND, "digits")], "in_docstring & digits", "digits alone inside a docstring"),
        (
            [(AND, "in_docstring"), (AND, "in_call")],
            "in_docstring & in_call",
            "inside a docstring, in the arguments of a call",
        ),
        ([(AND, "digits"), (AND, "py_name")], "digits & py_name", "digits alone, a Python name"),
        (
            [(AND, "digits"), (AND_NOT, "in_docstring")],
            "digits & ~in_docstring",
            "digits alone, not inside a docstring",
        ),
        (
            [(AND, "in_docstring"), (AND_NOT, "digits")],
            "in_docstring & ~digits",
            "inside a docstring, other than digits alone",
        ),
        ([(AND, "token", [b" a"])], "token(' a')", "`·a`"),
        ([(AND, "token", [b" a", b"\n"])], "token(' a') | token('\\n')", "`·a` or `⏎`"),
        (
            [(AND, "token", [b"self"]), (AND, "in_call")],
            "token('self') & in_call",
            "`self` in the arguments of a call",
        ),
        (
            [(AND, "token", [b"a", b"b"]), (AND, "in_call")],
            "(token('a') | token('b')) & in_call",
            "`a` or `b` in the arguments of a call",
        ),
        (
            [(AND, "previous", [b" at"]), (AND, "token", [b" le"])],
            "previous(' at') & token(' le')",
            "`·le` right after `·at`",
        ),
        (
            [(AND, "token", [b"a"]), (AND_NOT, "previous", [b"(", b"\xe1"])],
            "token('a') & ~previous('(', b'\\xe1')",
            "`a`, not right after `(` or `\\xe1`",
        ),
        (
            [(AND, "in_docstring"), (OR, "in_call")],
            "in_docstring | in_call",
            "inside a docstring or in the arguments of a call",
        ),
        (
            [(AND, "in_docstring"), (OR, "in_call"), (AND, "digits")],
            "(in_docstring | in_call) & digits",
            "digits alone, inside a docstring or in the arguments of a call",
        ),
        (
            [(AND, "digits"), (AND, "in_docstring"), (OR, "token", [b"x", b"y"])],
            "(digits & in_docstring) | token('x') | token('y')",
            "digits alone inside a docstring or `x` or `y`",
        ),
        (
            [(AND, "previous_2", [b"a"]), (AND, "digits"), (AND, "line_first", [b"b"])],
            "previous_2('a') & digits & line_first('b')",
            "digits alone two tokens after `a`, on a line that begins with `b`",
        ),
    ],
)
def test_labels(parts, writing, words):
    assert in_writing(claim(*parts)) == writing
    assert in_words(claim(*parts)) == words
    concept(writing)  # it can be read


def test_long_sets_and_odd_bytes():
    tokens = [b"%d" % i for i in range(6)]
    assert in_words(claim((AND, "token", tokens))) == "`0`, `1`, `2`, `3` and 2 more"
    assert spelled(b"\xe1\x8e") == "`\\xe1\\x8e`"
    assert spelled(b"\n        x") == "`⏎·×8x`"
