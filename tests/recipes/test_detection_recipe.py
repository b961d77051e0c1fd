"""The strings of the detection study are of their kind and of no other, and texts are made as they are described."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
import detection_texts as recipe
from detection import shuffled
from monoscope.studies.detection.examples import Example, Texts
from monoscope.types import Document


@pytest.mark.parametrize("kind", list(recipe.KINDS))
def test_strings_are_recognised_as_their_kind(kind):
    rng, known = random.Random(0), 0
    for _ in range(300):
        found = recipe.found_in(f'x = "{recipe.KINDS[kind](rng)}"')
        known += kind in found
        assert set(found) <= {kind} | ({"base64"} if kind == "secret" else set())
    assert known > (150 if kind == "base64" else 290)  # short base64 looks like a name


def test_plain_words_are_of_no_kind():
    rng = random.Random(1)
    assert not any(recipe.found_in(recipe.WORDS[recipe.PLAIN](rng)) for _ in range(300))


def documents(n: int = 60) -> list[Document]:
    return [Document(f"p{i % 7}/f{i}.py", "\n".join(f"    a{j} = {i * j}" for j in range(40))) for i in range(n)]


def test_what_is_inserted_stands_where_it_is_said_to_stand():
    made = list(recipe.inserted(documents(), recipe.SHORT, "s"))
    assert made == list(recipe.inserted(documents(), recipe.SHORT, "s"))
    assert len({kind for kind, _ in made}) > 3
    for kind, e in made:
        ((first, end),) = e.spans
        assert e.text.count("\n") == recipe.SHORT
        if kind in ("email", "url", "dna"):
            assert recipe.REAL[kind].search(e.text[first:end])
    labels = [e.label for e in recipe.one_kind(made, "email")]
    assert labels == [kind == "email" for kind, _ in made]


def test_real_strings_are_found_and_texts_without_any_are_the_negatives():
    text = "\n".join([f"line_{i} = {i}" for i in range(30)] + ['home = "https://example.org/a"'])
    found = list(recipe.real([Document("p/f.py", text)], "s"))
    assert found[0][0] == "url"
    assert all(recipe.found_in(e.text) == ([] if kind == recipe.PLAIN else [kind]) for kind, e in found)


def test_shuffling_keeps_how_many_there_are():
    texts = Texts(tuple(Example(str(i), i < 20) for i in range(60)), np.arange(60))
    found = shuffled(texts, 0)
    assert found.labels.sum() == 20
    assert found.labels.tolist() != texts.labels.tolist()
