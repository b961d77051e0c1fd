"""What objects show in a notebook: well-formed HTML, styled inline, escaped, without script."""

from __future__ import annotations

import copy
import json
import pickle
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from monoscope import notebook
from monoscope.app.reading_shown import Reading
from monoscope.catalogue import notebook as shown
from monoscope.catalogue.records import Example, ExcerptToken, FeatureRecord, Histogram, Hit, Hits, Label, TokenWeight
from monoscope.dictionary.base import architecture

TEXTS = st.text(max_size=30) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=x>', "a`<b>`c", "&lt;", "\x00\u202e"]
)
ALLOWED = {
    "div": {"style", "title"},
    "span": {"style", "title"},
    "svg": {"width", "height", "role", "aria-label", "style"},
    "path": {"d", "fill", "opacity"},
}


class Checker(HTMLParser):
    """Refuses what is not ours, and gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= ALLOWED[tag]
        assert all("url(" not in (value or "") or name == "title" for name, value in attrs)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check(html: str) -> str:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker.text


def record(words: str, text: str) -> FeatureRecord:
    label = Label(3, "context", words, words, 0.1, 0.9, 0.8, 0.85, 0.8, 0.9, 0.2, 80, 14)
    weight = [TokenWeight(1, text, 1.5, 2)]
    return FeatureRecord(
        3, 9, 0.01, 2.0, 1.0, Histogram([0.0, 1.0, 2.0], [7, 2]), {"top": (1.0, 2.0)},
        {"top": [Example(0, 1, 2.0, 0.1)]},
        weight, weight, weight, weight, [(1, 0.5)], [(1, 0.5)], [(1, 0.5)], 0.1, label,
    )  # fmt: skip


def given_by(found: FeatureRecord, text: str) -> FeatureRecord:
    """The record as a catalogue gives it."""
    tokens = [ExcerptToken(text, 0.0, 0), ExcerptToken(text, 2.0, 1)]
    object.__setattr__(found, "_catalogue", SimpleNamespace(excerpt=lambda *_, **__: tokens))
    return found


def reading(text: str, words: str) -> Reading:
    features = [
        {"id": 3, "value": 1.5, "label": words, "label_f1": 0.4},
        {"id": 4, "value": 0.5, "label": "", "label_f1": None},
    ]
    return Reading(
        {
            "tokens": [
                {"text": text, "start": 0, "end": 1, "features": features},
                {"text": "", "start": 1, "end": 1, "features": []},
            ]
        }
    )


@given(TEXTS, TEXTS)
def test_no_text_becomes_markup(words: str, text: str) -> None:
    found = record(words, text)
    for html in (
        found._repr_html_(),
        given_by(found, text)._repr_html_(),
        Hits([Hit(3, words, 0.9, 0.01, 1.0), Hit(4, "", float("nan"), 0.0, 0.5)])._repr_html_(),
        reading(text, words)._repr_html_(),
    ):
        check(html)
        assert len(html) < 20_000


def test_a_record_tells_what_matters() -> None:
    alone = check(record("inside a docstring", " def")._repr_html_())
    for words in (
        "#3",
        "inside a docstring",
        "F1 0.85 (0.80 to 0.90)",
        "fires on 1 %",
        "+0.100 nats",
        "·def",
        "Promotes",
    ):
        assert words in alone
    assert "Where it fires most" not in alone
    assert "Where it fires most" in check(given_by(record("x", " def"), " def")._repr_html_())


def test_a_record_is_copied_without_its_catalogue() -> None:
    found = given_by(record("x", "y"), "y")
    for other in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other == found and other._catalogue is None and found._catalogue is not None


def test_a_dead_feature_and_nothing_found() -> None:
    dead = FeatureRecord(0, 0, 0.0, 0.0, 0.0, Histogram([], []), {}, {}, [], [], [], [], [], [], [], None, None)
    assert "no label" in check(dead._repr_html_())
    assert check(Hits()._repr_html_()).startswith("0 features")
    assert check(Reading({"tokens": []})._repr_html_()) == "0 tokens"


def test_a_reading_stays_json() -> None:
    found = reading("x", "words")
    assert json.loads(json.dumps(found)) == found and isinstance(found, dict)
    text = check(found._repr_html_())
    assert "#3" in text and "words" in text and "F1 0.40" in text


def test_a_long_reading_is_cut() -> None:
    token = {
        "text": "word ",
        "start": 0,
        "end": 5,
        "features": [{"id": 1, "value": 1.0, "label": "w", "label_f1": 0.9}],
    }
    html = Reading({"tokens": [token] * 5_000})._repr_html_()
    assert "5,000 tokens" in html and "the first 1,000 are shown" in html and html.count("word ") == 1_000


def test_a_catalogue() -> None:
    n = 4
    columns = {
        "density": np.array([0.1, 0.0, 0.2, 0.3]), "label": np.array(["a <b>", "", "the `x`", "c"]),
        "label_kind": np.array(["context", "", "token", "context"]), "label_f1": np.array([0.5, np.nan, 0.99, 0.7]),
        "label_f1_low": np.array([0.4, np.nan, 0.9, 0.6]),
    }  # fmt: skip
    facts = {"model": "<m>", "site": "mlp_act.0", "architecture": "batch_topk", "n_tokens": 1000, "n_documents": 9}

    class Small:
        features = columns

        def __len__(self) -> int:
            return n

    small: Any = Small()
    small.facts = facts
    text = check(shown.catalogue(small))
    assert "4 features of <m> at mlp_act.0" in text and "3 alive" in text and "2 contextual and 1 token labels" in text
    assert text.index("#3") < text.index("#0") < text.index("#2")  # contextual first, then by the interval's lower end


def test_a_dictionary() -> None:
    made = architecture("topk")(4, 9, k=2)
    made.provenance |= {"model": "<b>m", "fingerprint": "abc"}
    text = check(made._repr_html_())
    assert "topk dictionary, 9 features" in text and "<b>m" in text and "k" in text and "abc" not in text


def test_colours_are_translucent_or_the_notebooks_own() -> None:
    html = given_by(record("x", "y"), "y")._repr_html_() + reading("x", "y")._repr_html_()
    assert "color:#" not in html and "background:#" not in html and "background:white" not in html


def test_shares() -> None:
    assert [notebook.percent(x) for x in (0, 0.0123, 0.5, 0.000012)] == ["0 %", "1.23 %", "50 %", "0.0012 %"]
