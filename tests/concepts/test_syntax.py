"""Corners of Python's syntax in which spans are easily misplaced, against tokens and columns written by hand."""

from __future__ import annotations

import ast
import io
import tokenize

import pytest

from monoscope.concepts import concept
from monoscope.concepts.nesting import WORDS as DEPTHS

BLOCKS = """\
if a:
    b
elif c:
    d
else:
    if e:
        f
    else:
        g
match h:  # what
    # nothing yet
    case 1:
        i
    case [j, *_] if k:
        l
try:
    m
except* N:
    o
finally:
    p
async def q():
    async with r:
        s
"""


def test_signatures_end_with_their_colon(marked):
    text = (
        "def f(x):  # see: there\n    return x\nclass C:  # type: ignore\n    y: int\nfor z in y:  # note: it\n    z\n"
    )
    assert marked("in_signature", text) == ["def", " f", "(", "x", ")", ":"]
    assert marked("in_class_header", text) == ["class", " C", ":"]
    assert marked("in_for_header", text) == ["for", " z", " in", " y", ":"]
    decorated = "def f(x: a = lambda: 1) -> g[h:i]:\n    @k(l[m:n])\n    def o(): p\n"
    assert marked("in_signature & ~in_function", decorated)[-2:] == ["]", ":"]


@pytest.mark.parametrize("space", ["\t", "  ", " \\\n "])
def test_definitions_are_named_whatever_stands_before_the_name(marked, space):
    text = f"class{space}C: x\nasync{space}def{space}f(): return def_\n"
    assert [t.strip() for t in marked("function_name | class_name", text)] == ["C", "f"]


def test_a_generator_yields_at_any_depth_and_by_itself(marked):
    text = "def f():\n    for x in y:\n        if x:\n            yield x\n"
    assert marked("in_generator & letters", text) == ["for", " x", " in", " y", "if", " x", "yield", " x"]
    outer = "def f():\n    def g():\n        yield 1\n    return g\n"
    assert marked("in_generator", outer) == ["yield", " 1"]


def test_functions_within_functions_may_stand_in_blocks(marked):
    text = "def f():\n    if x:\n        def g(): y\ndef h(): z\n"
    assert marked("in_nested_function & letters", text) == ["def", " g", " y"]


def test_keywords_that_equal_a_boolean_are_none(marked):
    assert marked("boolean_keyword & letters", "f(a=0, b=1, c=1.0, d=True, e=None)") == [" d", "True", " e", "None"]


def test_signs_that_look_like_operators(marked):
    assert marked("arithmetic", "def f(a, /, b): return a / b\ng = lambda a, /: a\ndef h(a, /): c\n") == [" /"]
    assert marked("decorator_at", "x = (a\n     @ b)\n@c\ndef f(): d\n") == ["@"]


@pytest.mark.parametrize(
    ("annotation", "allows"), [("int | None | str", 1), ("None | int", 1), ("A[None] | B", 0), ("None", 0)]
)
def test_annotations_that_allow_none(marked, annotation, allows):
    assert bool(marked("optional_annotation", f"x: {annotation} = y")) == allows


def test_blocks_are_as_deep_as_their_indentation(tokenised):
    """At the first token of every line of code."""
    document = tokenised(BLOCKS)
    masks = {name: concept(name).mask(document) for name in DEPTHS if name.startswith("block_depth")}
    lines, starts, depth, fresh = BLOCKS.split("\n"), document.starts.tolist(), 0, True
    for token in tokenize.generate_tokens(io.StringIO(BLOCKS).readline):
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        if fresh and token.type in (tokenize.NAME, tokenize.OP):
            row, column = token.start
            place = starts.index(sum(len(line) + 1 for line in lines[: row - 1]) + column)
            assert [name for name, mask in masks.items() if mask[place]] == [f"block_depth_{depth}"], token.line
        fresh = token.type == tokenize.NEWLINE or (fresh and token.type not in (tokenize.NAME, tokenize.OP))


def test_what_stands_in_a_try_with_groups(marked):
    assert marked("in_try_body | in_except_body | in_finally_body", BLOCKS[BLOCKS.index("try") :]) == ["m", "o", "p"]


@pytest.mark.parametrize("braces", ["{2**x for x in y}", "{a, b**2}", "{*c, d ** e}"])
def test_a_power_in_braces_makes_no_dictionary(marked, braces):
    assert isinstance(ast.parse(braces, mode="eval").body, ast.Set | ast.SetComp)
    assert marked("opening_set | closing_set", braces) == ["{", "}"]
    assert marked("opening_dict", "{**a, 'b': c**d}") == ["{"]


def test_comments_in_brackets_are_no_part_of_an_import(marked):
    text = "from a.b import (  # pylint: disable=import-error\n    c,\n)\n"
    assert marked("from_module", text) == [" a", ".", "b"]
    assert marked("import_keyword_after_from", text) == [" import"]
    assert marked("imported_name", text) == ["c"]


@pytest.mark.filterwarnings("ignore")  # of an invalid escape
@pytest.mark.parametrize(
    "text", [r'f"\{x}"', r'rf"\{x}"', r'f"\\{x}"', r'f"\N{EM DASH}{x}"', r'f"\\N{x}"', 'f"{{{x}}}"']
)
def test_fields_of_formatted_strings_are_those_of_ast(marked, text):
    fields = [p for p in ast.parse(text, mode="eval").body.values if isinstance(p, ast.FormattedValue)]
    assert [ast.unparse(p.value) for p in fields] == ["x"]
    assert marked("in_fstring_field", text) == ["{", "x", "}"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_spans_hold_in_spite_of_line_ends_form_feeds_tabs_and_wide_characters(marked, line_end):
    lines = ["é = '𝔘' ; x = (y := 1)", "\f", "if é:", "\tfoo(naïve=é, k=[z", "\t\t])", ""]
    text = line_end.join(lines)
    assert marked("walrus", text) == [" :", "="]
    assert marked("in_list & letters", text) == ["z"]
    assert marked("if_condition", text) == ["\\xc3", "\\xa9"]
    assert marked("called_function", text) == ["foo"]
    assert marked("block_depth_1 & letters", text)[:1] == ["foo"]
