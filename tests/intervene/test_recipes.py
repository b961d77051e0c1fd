"""Recipes as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from steer_world import dictionary, edit, model, saved, tokens

import monoscope as ms
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.edit import Condition, Direction, Edit, Recipe
from monoscope.models.fingerprint import fingerprint

numbers = st.floats(-100, 100, allow_nan=False)
text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
names = st.text("abcdefg-_.é\"' ", min_size=1, max_size=8).map(lambda s: "f" + s)
features = st.builds(Direction, names, st.integers(0, 99), max=st.floats(0.1, 9), sha256=st.none() | names)
vectors = st.builds(lambda name: Direction(vector=name + ".npy"), names)
conditions = st.builds(Condition, features, numbers, st.sampled_from(["value", "max"]), st.none() | st.just("embed"))
edits = st.builds(
    Edit, st.sampled_from(["add", "clamp", "cap"]), features, numbers, st.sampled_from(["value", "max", "norm"]),
    st.none() | st.just("mlp_act.0"), st.none() | conditions, st.integers(0, 5), st.none() | st.integers(6, 9),
) | st.builds(lambda of: Edit("project_out", of, site="embed"), vectors)  # fmt: skip


def moved(edit: Edit, folder: Path) -> Edit:
    """The same with its paths in a folder."""

    def inside(of: Direction) -> Direction:
        paths = {name: getattr(of, name) for name in ("dictionary", "vector")}
        return replace(of, **{name: path and str(folder / path) for name, path in paths.items()})

    return replace(edit, of=inside(edit.of), when=edit.when and replace(edit.when, of=inside(edit.when.of)))


@settings(max_examples=60, deadline=None)
@given(st.builds(Recipe, st.lists(edits, min_size=1, max_size=3).map(tuple), text, st.none() | st.just("f" * 64)))
def test_a_recipe_that_is_written_and_read_is_the_same(tmp_path_factory: pytest.TempPathFactory, made: Recipe) -> None:
    folder = tmp_path_factory.mktemp("recipes")
    there = Recipe(tuple(moved(e, folder) for e in made.edits), made.model, made.fingerprint)
    recipes.save(there, folder / "recipe.toml")
    assert recipes.load(folder / "recipe.toml") == there


def test_a_folder_with_a_recipe_can_be_moved(tmp_path: Path) -> None:
    made = dictionary()
    where = saved(tmp_path / "here" / "dictionary", made)
    held = Recipe((edit(where, sha256=content_hash(made)),), "tiny", fingerprint(model()), {"why": "a test"})
    recipes.save(held, tmp_path / "here" / "recipe.toml")
    with ms.steer(model(), held):
        wanted = model()(input_ids=tokens()).logits
    (tmp_path / "here").rename(tmp_path / "there")
    with ms.steer(model(), tmp_path / "there" / "recipe.toml"):
        assert torch.equal(model()(input_ids=tokens()).logits, wanted)
    assert recipes.load(tmp_path / "there" / "recipe.toml").notes == {"why": "a test"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", r"no \[\[edits\]\]"),
        ("edits = 3", r"no \[\[edits\]\]"),
        ("[[edits", "is no recipe"),
        ("edits = [1]", "is no table"),
        ('[[edits]]\noperation = "clamp"', "says nothing of of"),
        ('[[edits]]\noperation = "clamp"\nof = 3', "is no table"),
        ('[[edits]]\noperation = "clamp"\ndos = 1\nof = { vector = "v.npy" }', "did you mean 'dose'"),
        ('[[edits]]\noperation = "clamp"\ndose = "a lot"\nof = { dictionary = "d", feature = 1 }', "edit 1"),
        ('[[edits]]\noperation = "clamp"\ndose = 1\nof = { dictionary = "d" }', "feature of a dictionary"),
    ],
)
def test_a_file_that_is_no_recipe_says_what_is_wrong(tmp_path: Path, written: str, message: str) -> None:
    (tmp_path / "recipe.toml").write_text(written)
    with pytest.raises(MonoscopeError, match=message):
        recipes.load(tmp_path / "recipe.toml")
    with pytest.raises(MonoscopeError, match="is no recipe"):
        recipes.load(tmp_path / "none.toml")
