from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from app_demo import DemoCatalogue
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from monoscope.app import terminal
from monoscope.visible import label_parts, plain, safe, visible


def console(width: int = 140, colour: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    system: Any = "truecolor" if colour else None
    return Console(file=out, width=width, force_terminal=colour, color_system=system), out


@pytest.mark.parametrize("width", [50, 80, 140])
def test_the_summary_fits_and_tells(catalogue: DemoCatalogue, width: int) -> None:
    to, out = console(width)
    terminal.print_summary(catalogue, to, limit=6)
    text = out.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    flat = " ".join(text.split())
    for words in ("What reference-a thinks about", "0.120 ±0.010" if width > 80 else "0.120", "PCA", "comment"):
        assert words in flat
    assert ("for example" in text) is (width == 140)


def test_a_reading_shows_every_token_and_its_words(reader: Any) -> None:
    to, out = console()
    terminal.print_reading(reader("def f(x):\n    return x[0]  # [bold]no markup[/bold]\n"), to)
    text = out.getvalue()
    assert "return x[0]  # [bold]no markup[/bold]" in text
    assert re.search(r"the token 'def'  #\d+  F1 0\.\d\d", text) and "inside a docstring  #1  F1 0." in text


def test_a_reading_is_coloured(reader: Any) -> None:
    to, out = console(colour=True)
    terminal.print_reading(reader("def f"), to)
    assert "\x1b[38;2;29;28;26;48;2;" in out.getvalue()


def test_an_empty_reading_and_an_empty_search_say_so() -> None:
    to, out = console()
    terminal.print_reading({"tokens": []}, to)
    terminal.print_hits([], to)
    assert "The text is empty." in out.getvalue() and "No feature matches." in out.getvalue()


def test_hits(catalogue: DemoCatalogue) -> None:
    to, out = console()
    terminal.print_hits(catalogue.search("docstring", limit=3), to)
    assert len([line for line in out.getvalue().splitlines() if "docstring" in line]) == 3


def test_the_json_is_the_reading(reader: Any) -> None:
    reading = reader('print("é\x1b")')
    line = terminal.reading_json(reading)
    assert "\n" not in line and json.loads(line) == reading


def test_text_cannot_drive_the_terminal(reader: Any) -> None:
    to, out = console()
    terminal.print_reading(reader("\x1b]0;owned\x07 \x1b[2J \u202e \x9b31m \x00\x08 end"), to)
    text = out.getvalue()
    assert not any(c in text for c in "\x1b\x07\x08\x00\x9b\u202e") and "␛]0;owned" in text


@given(st.text())
def test_visible_text_is_harmless_and_complete(text: str) -> None:
    hidden = set(map(chr, [*range(32), *range(127, 160), 0x200B, 0x202E, 0x2066, 0xFEFF]))
    assert not hidden & set(plain(text))
    assert not (hidden - set("\n\t")) & set(safe(text))
    quiet = [piece for piece, mark in visible(text) if not mark]
    at = 0
    for piece in quiet:
        at = text.index(piece, at) + len(piece)


def test_spaces_between_words_stay_and_runs_are_marked() -> None:
    assert plain("a b") == "a b" and plain(" ") == "·" and plain("a  b") == "a··b" and plain(" " * 9) == "····"
    assert plain("a\n\tb") == "a↵⇥b" and visible(" a", spaces=True) == [("·", True), ("a", False)]
    assert safe("a\n\t  b\x1b") == "a\n\t  b␛"


def test_a_label_tells_its_tokens_from_its_words() -> None:
    assert label_parts("`def` or `\x1b[` in a class") == [
        ("def", True),
        (" or ", False),
        ("␛[", True),
        (" in a class", False),
    ]
    assert label_parts("") == [] and label_parts("a ` b") == [("a ` b", False)]
