"""The project's own files agree with one another."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def test_every_direct_dependency_is_pinned() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
    pinned = {name_of(line) for line in lines}
    wanted = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    assert {name_of(r) for group in wanted for r in group} - {"monoscope"} <= pinned


def test_every_dependency_has_its_line() -> None:
    page = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text()
    wanted = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    for requirement in (r for group in wanted for r in group):
        name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
        assert name == "monoscope" or name in page


def test_every_room_has_its_place() -> None:
    layers = " ".join(PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]).replace("|", " ").split()
    rooms = {p.name for p in (ROOT / "src" / "monoscope").iterdir() if (p / "__init__.py").is_file()}
    assert rooms <= set(layers) and len(layers) == len(set(layers))


def test_every_package_says_what_it_is() -> None:
    for package in (ROOT / "src" / "monoscope").rglob("__init__.py"):
        assert package.read_text().startswith('"""'), package
    assert (ROOT / "src" / "monoscope" / "py.typed").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_examples_are_short_and_say_what_they_do(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('"""') and len(text.splitlines()) < 60
    compile(text, path.name, "exec")


def test_ci_calls_what_people_call() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), ROOT / ".ci" / "run"
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())
    assert targets == {"quickstart", "test", "test-peers", "check", "bench", "docs"}
    assert {m for m in re.findall(r"^make (\w+)", ci.read_text(), re.MULTILINE)} >= {"check", "test"}
    assert os.access(ci, os.X_OK)
