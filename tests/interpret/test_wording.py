"""Labels in words and in writing."""

from __future__ import annotations

import pytest

from monoscope.concepts import Concept
from monoscope.interpret.search import NONE, TOKENS
from monoscope.interpret.wording import in_words, in_writing, spelled

CONCEPTS = [
    Concept("in_docstring", "inside a docstring", "f", lambda d: d.nothing()),
    Concept("digits", "digits alone", "f", lambda d: d.nothing()),
    Concept("in_call", "in the arguments of a call", "f", lambda d: d.nothing()),
    Concept("py_name", "a Python name", "f", lambda d: d.nothing()),
]


@pytest.mark.parametrize(
    ("first", "second", "tokens", "writing", "words"),
    [
        (0, NONE, [], "in_docstring", "inside a docstring"),
        (1, 0, [], "digits & in_docstring", "digits alone inside a docstring"),
        (0, 1, [], "in_docstring & digits", "digits alone inside a docstring"),
        (0, 2, [], "in_docstring & in_call", "inside a docstring, in the arguments of a call"),
        (1, 3, [], "digits & py_name", "digits alone, a Python name"),
        (1, -3 - 0, [], "digits & ~in_docstring", "digits alone, not inside a docstring"),
        (0, -3 - 1, [], "in_docstring & ~digits", "inside a docstring, other than digits alone"),
        (TOKENS, NONE, [b" a"], "token(' a')", "`·a`"),
        (TOKENS, NONE, [b" a", b"\n"], "token(' a') | token('\\n')", "`·a` or `⏎`"),
        (TOKENS, 2, [b"self"], "token('self') & in_call", "`self` in the arguments of a call"),
        (TOKENS, 2, [b"a", b"b"], "(token('a') | token('b')) & in_call", "`a` or `b` in the arguments of a call"),
        (TOKENS, NONE, [b"a", b"b", b"c"], "token('a') | token('b') | token('c')", "`a`, `b` or `c`"),
    ],
)
def test_labels(first, second, tokens, writing, words):
    assert in_writing(CONCEPTS, first, second, tokens) == writing
    assert in_words(CONCEPTS, first, second, tokens) == words


def test_long_sets_and_odd_bytes():
    assert in_words(CONCEPTS, TOKENS, NONE, [b"%d" % i for i in range(6)]) == "`0`, `1`, `2`, `3` and 2 more"
    assert spelled(b"\xe1\x8e") == "`\\xe1\\x8e`"
    assert spelled(b"\n        x") == "`⏎·×8x`"
