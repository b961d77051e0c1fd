"""Places against what a person would point at, and no text too strange for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.concepts import PLACES, Analysed
from monoscope.concepts._places import place_spellings
from monoscope.types import TokenisedDocument

TEXT = """import os

def load_all(path, mode):
    for name in range(len(path)):
        print("a b", name)
"""
AT = {place.name: place for place in PLACES}

# place → (token, the n-th of its spelling) → the token that stands there
EXPECTED = {
    "token": {(" os", 0): " os"},
    "previous": {(" os", 0): "import", ("import", 0): None},
    "previous_3": {("all", 0): "def", ("def", 0): " os"},
    "following": {("import", 0): " os", ("\n", -1): None},
    "line_first": {(" os", 0): "import", (" name", 1): "print", ("print", 0): "print", ("all", 0): "def"},
    "above_first": {("def", 0): "import", ("print", 0): "for", ("import", 0): None},
    "word_first": {("all", 0): " load", ("_", 0): " load", (" load", 0): None, ("(", 0): None},
    "word_before": {(" range", 0): " in", ("path", 0): " load", (" mode", 0): "path", ("import", 0): None},
    "bracket_head": {
        ("path", 0): "all",
        (" mode", 0): "all",
        ("path", 1): "len",
        ("len", 0): " range",
        ("def", 0): None,
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_stands_there(name, tokenised):
    document = Analysed(tokenised(TEXT))
    spelled = [t.decode() for t in document.document.token_bytes()]
    found = AT[name].find(document)
    for (token, nth), other in EXPECTED[name].items():
        here = [i for i, s in enumerate(spelled) if s == token][nth]
        assert (spelled[found[here]] if found[here] >= 0 else None) == other, (token, nth)


def test_every_place_is_tested_and_the_token_itself_is_first():
    assert set(EXPECTED) | {"previous_2"} == set(AT)
    assert PLACES[0].name == "token"
    assert all("{}" in place.words and place.name.isidentifier() for place in PLACES)


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("()[]{}\n a_"), max_size=60), st.integers(1, 5)
)
def test_no_text_is_too_strange(text, step):
    n = len(text.encode())
    starts = np.arange(0, n, step)
    document = TokenisedDocument("d", text, np.zeros(len(starts), int), starts, np.minimum(starts + step, n))
    table = place_spellings(Analysed(document))
    assert table.shape == (len(starts), len(PLACES))
    assert ((table >= -1) & (table < max(1, len(set(document.token_bytes()))))).all()


def test_brackets_close_with_their_kind_and_where_a_line_begins_at_the_margin(tokenised):
    document = Analysed(tokenised("f(a]b)c g(d\nx\n"))
    spelled = [t.decode() for t in document.document.token_bytes()]
    heads = {spelled[i]: spelled[h] if h >= 0 else None for i, h in enumerate(AT["bracket_head"].find(document))}
    assert heads["a"] == heads["b"] == "f"
    assert heads["c"] is None
    assert heads["d"] == " g"
    assert heads["x"] is None
