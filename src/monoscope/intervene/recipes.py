"""Recipes as TOML files: written with everything that is needed to refuse the wrong model or dictionary.

    model = "reference-a"
    fingerprint = "…"

    [[edits]]
    operation = "clamp"
    dose = 2.0
    unit = "max"
    of = { dictionary = "dictionary", feature = 12, max = 3.1, sha256 = "…" }

Paths are relative to the file.
"""

from __future__ import annotations

from pathlib import Path

from monoscope import tables
from monoscope.intervene.edit import Recipe


def load(path: str | Path) -> Recipe:
    """Read a recipe; its relative paths become those seen from where the program runs.

    Raises:
        MonoscopeError: there is no such file, or it is no recipe; the message says which part is wrong.
    """
    return tables.load(Recipe, path, "recipe")


def save(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe. Paths that are under the file's folder become relative, so that the folder can be moved."""
    tables.save(recipe, path)
