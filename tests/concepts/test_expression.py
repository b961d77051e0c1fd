"""Concepts in writing."""

from __future__ import annotations

import numpy as np
import pytest

from monoscope.concepts import concept, token_literal
from monoscope.errors import MonoscopeError

TEXT = "def f(self):\n    return self.x\n"


def test_operators_are_those_of_sets(tokenised):
    document = tokenised(TEXT)
    a, b = concept("keyword_return").mask(document), concept("in_signature").mask(document)
    assert np.array_equal(concept("keyword_return | in_signature").mask(document), a | b)
    assert np.array_equal(concept("~keyword_return & in_signature").mask(document), ~a & b)
    assert np.array_equal(concept("~(keyword_return | in_signature)").mask(document), ~(a | b))


def test_tests_of_a_token(marked):
    assert marked("token('self')", TEXT) == ["self"]
    assert marked("token(' self')", TEXT) == [" self"]
    assert marked("prefix('re') | prefix(' sel')", TEXT) == ["return", " self"]
    assert marked("suffix('elf') & in_signature", TEXT) == ["self"]
    assert marked("token('self', ' self')", TEXT) == ["self", " self"]
    assert marked("suffix('f', 'n')", TEXT) == ["def", " f", "self", "return", " self"]


def test_tests_of_another_place(marked):
    assert marked("previous('(', '.')", TEXT) == ["self", "x"]
    assert marked("previous_2(' self') & ~token('\\n')", TEXT) == ["x"]
    assert marked("line_first('return') & prefix(' ')", TEXT) == [" self"]


@pytest.mark.parametrize("spelling", [b"def", b" '\"", b"\\", b"\n", "ж".encode(), b"\xe1\x8e", b"\x00"])
def test_a_literal_finds_its_token(spelling):
    from monoscope.types import TokenisedDocument

    text = (b"a" + spelling + b"b").decode(errors="ignore")
    if spelling == b"\xe1\x8e":
        text = "aᎠb"  # E1 8E A0
    at = text.encode().index(spelling)
    cuts = np.array([0, at, at + len(spelling), len(text.encode())])
    document = TokenisedDocument("d", text, np.arange(3), cuts[:-1], cuts[1:])
    assert concept(token_literal(spelling)).mask(document).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("in_docstrin", "in_docstring"),
        ("tokn('a')", "token"),
        ("in_docstring and in_call", "no place"),
        ("token(in_call)", "one string"),
        ("__import__('os').system('true')", "test of a token"),
        ("in_call.mask", "no place"),
        ("in_call &", "no expression"),
        ("", "no expression"),
        (None, "no expression"),
        ("1", "no place"),
        ("(" * 400 + "in_call" + ")" * 400, "no expression"),
    ],
)
def test_anything_else_is_refused_with_advice(expression, says):
    with pytest.raises(MonoscopeError, match=says):
        concept(expression)


def test_only_what_has_tokens_is_masked():
    with pytest.raises(MonoscopeError, match="a str has no tokens"):
        concept("in_call").mask("f(x)")
