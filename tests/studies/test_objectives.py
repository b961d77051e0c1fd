"""Objectives: what the compiler accepts, brackets, indentation, and functions of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.studies.objectives import PACKAGE, objective
from monoscope.studies.objectives.balanced_brackets import score as brackets
from monoscope.studies.objectives.consistent_indentation import score as indentation
from monoscope.studies.objectives.python_parses import score as parses


@pytest.mark.parametrize(
    ("prompt", "said", "wanted"),
    [
        ("def f(x):\n", "    return x\n", 1),
        ("def f(x):\n", "    return x\n\n    foo(", 1),  # the last line is not judged
        ("def f(", "x):\n    return 1\n    '''text\n that goes on", 1),
        ("def f():\n", "    if x:\n        y = 1\n    else:\n", 1),  # unfinished, but not wrong
        ("def f(x):\n", "    return (\n   x,\n", 0),  # no new line of it is whole
        ("def f(", "x):\n    '''text\n and text\n", 0),  # an endless string
        ("x = 1\n", "# only a comment\n\n", 0),
        ("x = 1\n", "y = 2", 0),  # no whole line
        ("x = 1\n", "y = 2\n  z = 3\n", 0),
        ("x = 1\n", "y = \x00\n", 0),
        ("x = 1\n", "y = '\\d'\n", 1),  # a warning is no error
        ("x = ", "", 0),
    ],
)
def test_what_parses(prompt: str, said: str, wanted: int) -> None:
    assert parses(prompt, said) == wanted


@pytest.mark.parametrize(
    ("prompt", "said", "wanted"),
    [
        ("f(", "x)\n", 1), ("f(x", ", [1, {2: 3}])\n", 1), ("f(", "x]\n", 0), ("f(x)", ")\n", 0),
        ("f", "(x\n", 0), ("f(", "x,\n y", 1), ("f", "(x)\ng(", 1), ("f", "(x)", 0), (")", "(x)\n", 1),
    ],
)  # fmt: skip
def test_brackets(prompt: str, said: str, wanted: int) -> None:
    assert brackets(prompt, said) == wanted


@pytest.mark.parametrize(
    ("prompt", "said", "wanted"),
    [
        ("def f():\n", "    x = 1\n    y = 2\nz = 3\n", 1),
        ("def f():\n", "x = 1\n", 0),
        ("def f():\n", "    x = 1\n      y = 2\n", 0.5),
        ("x = 1\n", "  y = 2\n\n# nothing\n", 0),
        ("x = [\n", "        1,\n  2]\ny = 3\n", 1),
        ("def f():\n    if x:\n", "        y\n   z\n", 0.5),
        ("x", " = 1", 0),
    ],
)
def test_indentation(prompt: str, said: str, wanted: float) -> None:
    assert indentation(prompt, said) == wanted


@pytest.mark.parametrize("name", plugins.names(PACKAGE))
@given(st.text("a:([{}])\n #'\"\\\x00é", max_size=30), st.text("a:([{}])\n #'\"\\\x00é", max_size=30))
def test_every_objective_takes_any_text(name: str, prompt: str, said: str) -> None:
    assert 0 <= objective(name)(prompt, said) <= 1


def test_what_parses_whole_parses_bracketed_and_indented() -> None:
    source = Path(plugins.__file__).read_text()
    for name in plugins.names(PACKAGE):
        lines = source.splitlines(keepends=True)
        assert objective(name)("".join(lines[:8]), "".join(lines[8:])) == 1, name


def test_functions_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def length(prompt, said):\n    return len(said)\n\n\ndef odd(p, s):\n    return 'x'\n"
    )
    assert objective(f"{tmp_path}/mine.py:length")("", "abcd") == 4
    both = objective(f"{tmp_path}/mine.py:length + balanced_brackets")
    assert both("", "ab\n") == (3 + 1) / 2
    assert objective("operator:eq")("a", "a") == 1
    for wrong, message in (
        (f"{tmp_path}/mine.py:no", "no function"), (f"{tmp_path}/not.py:no", "no file"), ("no.module:f", "imported"),
        ("python_parse", "did you mean 'python_parses'"),
    ):  # fmt: skip
        with pytest.raises(MonoscopeError, match=message):
            objective(wrong)
    with pytest.raises(MonoscopeError, match="gave 'x'"):
        objective(f"{tmp_path}/mine.py:odd")("", "")
