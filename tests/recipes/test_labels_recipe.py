"""The table of labels: its parts against numbers worked out otherwise, and the whole over a tiny run."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
sys.path.insert(0, str(Path(__file__).parents[1] / "interpret"))
import labels as recipe  # isort: skip
from explained_world import catalogue  # isort: skip

from monoscope.catalogue.records import Label

ONE = Label(0, "context", "in_docstring", "inside a docstring", 0.1, 0.9, 0.9, 0.9, 0.8, 1.0, 0.2, 100, 20)


def test_wilsons_interval_solves_its_equation():
    for k, n in ((0, 10), (3, 10), (725, 4078), (50, 50)):
        for end in recipe.wilson(k, n):
            assert (k / n - end) ** 2 == pytest.approx(recipe.Z**2 * end * (1 - end) / n, abs=1e-12)


@pytest.mark.parametrize(
    ("expression", "n"),
    [
        ("in_docstring", 1),
        ("previous('in_docstring')", 1),
        ("(token(' a') | token(' b')) & ~in_docstring", 2),
        ("((previous('x') | previous('y')) | letters) & word_before(b'\\xff')", 3),
    ],
)
def test_literals_are_counted(expression, n):
    assert recipe.literals(replace(ONE, concept=expression)) == n


def test_labels_are_counted_by_kind_level_and_length():
    found = [ONE, replace(ONE, concept="letters & in_docstring", f1=0.6), replace(ONE, kind="token", f1=0.4)]
    context, token, lengths = recipe.cells(found, 10, 0.5)
    assert context.startswith("2: 20.0% (") and token.startswith("0: 0.0% (0.0% to ") and lengths == "1, 1, 0"
    assert recipe.cells(found, 10, 0.8)[0].startswith("1: ")


def test_the_table_of_a_tiny_run(tmp_path, capsys):
    """Random words and random features: every part is searched, none is left out of the table."""
    made = catalogue(tmp_path)
    recipe.labels(tmp_path)
    shown = capsys.readouterr().out
    assert "asking the concepts" in shown and "the run" in shown and "shifted activations" in shown
    assert "shuffled weights" not in shown  # there is no such control
    assert f"{recipe.alive(made):,}" in shown
