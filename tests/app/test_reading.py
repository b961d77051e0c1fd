"""A reader says what the catalogue's own pass over the same text says, whatever the text's length."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import monoscope as ms
from monoscope.app.reading import WINDOWS_AT_ONCE, Reader, decode
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.models import load_model
from monoscope.models.generation import generate
from monoscope.ops import encode
from monoscope.types import Code, Site, TokenBlock

N, D, CONTEXT = 12, 6, 8
SITE = Site.parse("mlp_act.0")


class Bytes:
    """A tokeniser whose tokens are bytes, shifted by 2; 0 pads, 1 begins."""

    prefix, suffix, padding = [1], [1], 0

    def text(self, text: str) -> Any:
        data = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
        at = np.arange(len(data))
        return _Tokens(tokens=data + 2, starts=at, ends=at + 1)


class _Tokens(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.tokens)


class Model:
    """Activations that depend on the token, its place in the window and the token before it, through fixed numbers."""

    name, tokeniser = "stand-in", Bytes()
    context = window = CONTEXT
    table = torch.randn(258, D, generator=torch.Generator().manual_seed(0))

    def width(self, site: Site) -> int:
        return D

    def run(self, block: TokenBlock, *, read: list[Site]) -> dict[str, torch.Tensor]:
        assert block.tokens.shape[1] <= CONTEXT and len(block.tokens) <= WINDOWS_AT_ONCE
        before = torch.roll(block.tokens, 1, 1)
        place = torch.arange(block.tokens.shape[1]).sin()[None, :, None]
        return {str(read[0]): self.table[block.tokens] + self.table[before].roll(1, 2) / 3 + place}


class Dictionary:
    d_in, n_features = D, N
    weights = torch.randn(D, N, generator=torch.Generator().manual_seed(1))

    def make_ready(self) -> None:
        pass

    def encode(self, x: torch.Tensor) -> Code:
        return Code.from_dense(torch.relu(x @ self.weights - 1.5))


class Wide(Dictionary):
    d_in = 512
    weights = torch.randn(512, N, generator=torch.Generator().manual_seed(1))

    def encode(self, x: torch.Tensor) -> Code:
        return Code.from_dense(torch.relu(x @ self.weights - 1.5))


class Catalogue:
    features = {  # noqa: RUF012
        "label": np.array([f"label {i}" if i % 2 else "" for i in range(N)], dtype=object),
        "label_f1": np.array([i / N if i % 2 else np.nan for i in range(N)]),
    }

    def __len__(self) -> int:
        return N


def reader() -> Reader:
    return Reader(Model(), SITE, Dictionary(), Catalogue())


def brute_force(text: str) -> list[list[tuple[int, float]]]:
    """One token at a time, one window at a time."""
    data, room, found = text.encode(), CONTEXT - 2, []
    for first in range(0, len(data), room):
        window = torch.tensor([[1, *(b + 2 for b in data[first : first + room]), 1]])
        block = TokenBlock(window, torch.zeros_like(window), torch.zeros_like(window))
        x = Model().run(block, read=[SITE])[str(SITE)][0, 1:-1]
        for row in torch.relu(x @ Dictionary.weights - 1.5):
            pairs = [(i, v) for i, v in enumerate(row.tolist()) if v > 0]
            found.append(sorted(pairs, key=lambda pair: -pair[1]))
    return found


@given(st.text(max_size=260).filter(lambda t: t.isprintable() or "\n" in t))
@example("x" * (6 * WINDOWS_AT_ONCE * 2 + 1))
@example("x" * (6 * WINDOWS_AT_ONCE))
@example("naïve 🐍")
def test_a_reading_is_what_window_after_window_gives(text: str) -> None:
    tokens = reader().read(text)["tokens"]
    wanted = brute_force(text)
    assert len(tokens) == len(text.encode()) == len(wanted)
    for token, pairs in zip(tokens, wanted, strict=True):
        assert [f["id"] for f in token["features"]] == [i for i, _ in pairs]
        for f, (i, value) in zip(token["features"], pairs, strict=True):
            assert f["value"] == pytest.approx(value, abs=2e-5)
            assert (f["label"], f["label_f1"]) == ((f"label {i}", pytest.approx(i / N)) if i % 2 else ("", None))
    assert "".join(t["text"] for t in tokens) == text
    assert [(t["start"], t["end"]) for t in tokens] == [(i, i + 1) for i in range(len(tokens))]


def test_the_encoder_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, made = load_model("reference-a"), architecture("l1")(512, N).requires_grad_(False)
    made.w_enc.normal_(generator=torch.Generator().manual_seed(0))
    kept = Reader(lm, SITE, made, Catalogue())
    monkeypatch.setattr(encode, "FEW", 0)  # even these few scores are preselected
    expected = kept.read("def f(x):\n    return x\n")
    assert any(token["features"] for token in expected["tokens"])
    monkeypatch.setattr(encode, "_rounding", lambda *_: pytest.fail("prepared again"))
    assert kept.read("def f(x):\n    return x\n") == expected


def test_an_empty_text_has_no_tokens() -> None:
    assert reader()("") == {"tokens": []}


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(MonoscopeError, match="not valid Unicode at character 1"):
        reader().read("a\ud800")
    for wrong in (None, b"a", ["a"]):
        with pytest.raises(MonoscopeError, match="is no text"):
            reader().read(wrong)


@pytest.mark.parametrize("run", [None, "", 3])
def test_what_is_no_path_is_no_run(run: object) -> None:
    for use in (ms.open_catalogue, lambda run: ms.read(run, "text")):
        with pytest.raises(MonoscopeError, match="is no path"):
            use(run)


@given(st.text(max_size=40), st.data())
def test_pieces_join_to_the_text_wherever_it_is_cut(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert "".join(decode(pieces)) == text


def test_wrong_pairings_are_refused() -> None:
    wide = SimpleNamespace(d_in=D + 1, n_features=N)
    with pytest.raises(MonoscopeError, match=r"reads 7 numbers a token, stand-in has 6 at mlp_act\.0"):
        Reader(Model(), SITE, wide, Catalogue())
    with pytest.raises(MonoscopeError, match="13 features, the catalogue 12"):
        Reader(Model(), SITE, SimpleNamespace(d_in=D, n_features=13), Catalogue())


def test_a_continuation_carries_the_features_of_the_pass_that_wrote_it() -> None:
    lm = load_model("reference-a")
    site = Site.parse("mlp_act.0")
    reader = Reader(lm, site, Wide(), Catalogue())
    text = "# naïve 🐍\ndef f(x):\n"
    written = list(reader.continuation(text, 8, temperature=1.0, seed=2))
    assert written == list(reader.continuation(text, 8, temperature=1.0, seed=2)) and len(written) == 8
    tokens = [w.token for w in generate(lm, lm.tokeniser.text(text).tokens.tolist(), 8, temperature=1.0, seed=2)]
    assert "".join(w["text"] for w in written) == lm.tokeniser.fast.decode(tokens).rstrip("\ufffd")
    whole = torch.tensor([[*lm.tokeniser.prefix, *lm.tokeniser.text(text).tokens.tolist(), *tokens]])
    x = lm.run(TokenBlock(whole, whole * 0, whole * 0), read=[site])[str(site)][0, -8:]
    for row, w in zip(torch.relu(x @ Wide.weights - 1.5), written, strict=True):
        assert {f["id"]: f["value"] for f in w["features"]} == pytest.approx(
            {i: v for i, v in enumerate(row.tolist()) if v > 0}, abs=1e-3
        )
    with pytest.raises(MonoscopeError, match="not valid Unicode"):
        reader.continuation("\ud800", 1)
