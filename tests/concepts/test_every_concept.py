"""Laws for every concept of the folder: a new file is tested without being named here."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import plugins
from monoscope.concepts import Analysed, Lexicon, every
from monoscope.types import TokenisedDocument

SNIPPETS = {
    "empty": "",
    "blank": "  \n\n",
    "prose": "It was a bright cold day in April, and the clocks were striking thirteen.\n",
    "not quite Python": "def f(x:\n    return {x\n",
    "scripts": "Ꭰ ગુજરાતી ܐ ж 中 😀\n",
    "unclosed": 'x = "',
    "deep": "(" * 150 + ")" * 150,
    "Windows": "import os\r\nif os:\r\n    pass\r\n",
    "rich": '@d(a=1)\nasync def f(x: int = -1, *y, **z) -> "T":\n    """Do.\n\n    Args:\n        x: it.\n    """\n'
    '    global g\n    async with a as b, c:\n        return await f(*y, k=f"{x!r:>{3}} {{t}}")[1:-1, ...]\n'
    "    match x:\n        case {1: [z]} if z: raise E from None\n    lambda q, r=2: (q := r)\n"
    "    del x[0], y.z\n    assert not x, 'no'\n    x: list[int] | None = {**a, 'b': {1, 2}}; y += 1 if x else 2\n",
}


def _whole(text: str, step: int = 3) -> TokenisedDocument:
    """Tokens of ``step`` bytes each, so that they cut code points and straddle everything."""
    n = len(text.encode())
    starts = np.arange(0, n, step)
    return TokenisedDocument("d", text, np.zeros(len(starts), dtype=np.int64), starts, np.minimum(starts + step, n))


def test_there_are_enough_and_their_names_can_be_written():
    names = [c.name for c in every()]
    assert len(names) >= 150
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    assert len({c.words for c in every()}) == len(names)
    assert {c.family for c in every()} == set(plugins.names("monoscope.concepts"))


@pytest.mark.parametrize("name", SNIPPETS)
@pytest.mark.parametrize("step", [1, 4])
def test_masks_have_the_right_shape_and_are_the_same_again(name, step):
    document = _whole(SNIPPETS[name], step)
    one, two = Analysed(document), Analysed(document)
    for concept in every():
        mask = concept.mask(one)
        assert mask.shape == (len(document),), concept
        assert mask.dtype == bool, concept
        assert np.array_equal(mask, concept.mask(two)), concept


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60), st.integers(1, 5))
def test_no_text_is_too_strange(text, step):
    document = Analysed(_whole(text, step))
    for concept in every():
        assert concept.mask(document).shape == (len(document),)


def test_one_document_does_not_sway_another():
    alone = Analysed(_whole(SNIPPETS["rich"]))
    lone = {c.name: c.mask(alone) for c in every()}
    shared = Lexicon()
    for text in SNIPPETS.values():
        document = Analysed(_whole(text), shared)
        masks = {c.name: c.mask(document) for c in every()}
        if text == SNIPPETS["rich"]:
            assert all(np.array_equal(masks[name], lone[name]) for name in lone)


def test_syntax_positions_agree_with_ast():
    """Every name in a load context, found by its own line and column."""
    text = SNIPPETS["rich"].replace('f"{x!r:>{3}} {{t}}"', "x")
    document = _whole(text, 1)
    expected = np.zeros(len(document), dtype=bool)
    lines = [0, *np.flatnonzero(np.frombuffer(text.encode(), np.uint8) == 10) + 1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            start = lines[node.lineno - 1] + node.col_offset
            expected[start : start + len(node.id)] = True
    mask = next(c for c in every() if c.name == "name_read").mask(document)
    assert np.array_equal(mask, expected)
