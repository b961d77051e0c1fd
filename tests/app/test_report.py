from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from app_demo import DemoCatalogue
from hypothesis import given
from hypothesis import strategies as st

from monoscope.app import report
from monoscope.app.ui import figures
from monoscope.errors import MonoscopeError
from monoscope.markup import Markup, el


class Seen(HTMLParser):
    """The elements and text of a page, and whether its tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(catalogue: DemoCatalogue, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    made = {"seed": 0, "text": "</script><script>window.hacked=1</script>"}
    return report.write(catalogue, path, made, features=20).read_text(encoding="utf-8")


def test_the_report_is_one_file_that_asks_for_nothing(page: str) -> None:
    seen = Seen()
    seen.feed(page)
    assert not {"src", "href", "action", "data", "srcset", "poster"} & {name for name, _ in seen.attributes}
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(seen.tags)
    assert "@import" not in page and "url(" not in page
    assert any(value is not None and value.startswith("default-src 'none'") for _, value in seen.attributes)


def test_the_report_is_well_formed_and_data_stays_data(page: str) -> None:
    seen = Seen()
    seen.feed(page)
    assert seen.open == []
    assert seen.tags.count("script") == 1 and "img" not in seen.tags
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert "<img src=x onerror=alert(1)> in markup" in seen.text
    assert "</script><script>window.hacked=1</script>" in seen.text


def test_the_report_holds_the_numbers(page: str, catalogue: DemoCatalogue) -> None:
    seen = Seen()
    seen.feed(page)
    for words in (
        "300 directions",
        "0.931",
        "frozen decoder",
        "random model",
        "inside a docstring",
        "precision",
        "seed",
    ):
        assert words in seen.text
    assert page.count('class="entry"') == 20


def test_no_evaluation_and_no_labels_are_said(catalogue: DemoCatalogue) -> None:
    bare = DemoCatalogue(12)
    bare.overview = {**bare.overview, "evaluation": {}}
    bare.features = {**bare.features, "label_kind": np.full(12, "", dtype=object)}
    found = report.render(bare, {})
    assert "no evaluation" in found and "No labels yet" in found


def test_no_number_and_no_axis_of_a_figure_is_a_negative_zero() -> None:
    nearly = {"value": -0.0004, "low": -0.002, "high": 0.003}
    drawn = figures.metric({"metrics": {"kl": nearly}, "controls": {"pca": {"kl": nearly}}}, "kl", "KL", "", 2)
    assert "0.00" in drawn and "-0.00" not in drawn
    worse = figures.metric({"metrics": {"kl": {**nearly, "low": -0.2}}}, "kl", "KL", "", 2)
    assert "<span>-0.20</span>" in worse  # what is below zero is told


def test_an_unwritable_place_is_named(catalogue: DemoCatalogue, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonoscopeError, match=r"cannot write report\.html"):
        report.write(catalogue, tmp_path / "file" / "report.html")


@given(st.text(), st.text())
def test_every_string_is_escaped(value: str, text: str) -> None:
    made = el("p", {"title": value}, text, el("b", {}, text), Markup("<i></i>"))
    parts = re.fullmatch(r'<p title="([^"<>]*)">([^<>]*)<b>([^<>]*)</b><i></i></p>', made)
    assert parts is not None
    for bad in ("<p onclick=x>", "p x", ""):
        with pytest.raises(ValueError, match="is no element"):
            el(bad)
