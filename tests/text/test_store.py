"""The token store: what was put in comes out; what is half-written or damaged is never taken for whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.text import store
from monoscope.text.store import TokenStore
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document

DOCUMENTS = [("fit", Document("a", "the fox")), ("test", Document("b", "é🙂 dog\n")), ("fit", Document("c", "x = 1"))]
FIXTURE = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@FIXTURE
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=6).filter(any))
def test_round_trip(tokeniser: Tokeniser, tmp_path: Path, texts: list[str]) -> None:
    pairs = [("fit", Document(f"n{i}", text)) for i, text in enumerate(texts)]
    expected = [d for d in tokeniser.documents([d for _, d in pairs]) if len(d)]
    if not expected:
        return
    held = store.build(pairs, tokeniser, tmp_path / "text")
    assert len(held) == len(expected) and held.n_tokens == sum(map(len, expected))
    for i, document in enumerate(expected):
        found = TokenStore(held.path).document(i)
        assert (found.name, found.text) == (document.name, document.text)
        assert all(np.array_equal(getattr(found, f), getattr(document, f)) for f in ("tokens", "starts", "ends"))
        assert held.excerpt(i, -3, 10_000) == document.token_bytes()
        assert held.excerpt(i, 1, 2) == document.token_bytes()[1:2]


def test_splits_and_lengths(text_store: TokenStore) -> None:
    assert text_store.documents("test").tolist() == [1, 4, 6]
    assert text_store.documents("dictionary", "test").tolist() == [1, 3, 4, 6]
    assert text_store.documents().tolist() == list(range(7))
    assert text_store.tokens_in("fit", "test", "dictionary") == text_store.n_tokens == len(text_store.tokens)
    assert text_store.tokens_in("test") == sum(text_store.length(d) for d in (1, 4, 6))
    assert text_store.manifest["tokens"]["dictionary"] == text_store.length(3)


def test_locate_and_rows_of_are_inverse(text_store: TokenStore) -> None:
    rows = np.arange(text_store.n_tokens)
    documents, positions = text_store.locate(rows)
    assert np.array_equal(text_store.rows_of(documents, positions), rows)
    assert np.array_equal(np.bincount(documents), [text_store.length(d) for d in range(len(text_store))])
    assert positions.min() == 0 and all(positions[documents == d].max() == text_store.length(d) - 1 for d in range(7))


def test_a_budget_stops_reading(bpe: Tokeniser, tmp_path: Path) -> None:
    read = 0

    def endless() -> Iterator[tuple[str, Document]]:
        nonlocal read
        for read in range(1_000_000):
            yield ("fit", "test", "other")[read % 3], Document(str(read), "the quick brown fox " * 20)
        raise AssertionError("the budget did not stop the reading")

    held = store.build(endless(), bpe, tmp_path / "text", budget={"fit": 1000, "test": 200})
    each = held.length(0)
    assert 1000 <= held.tokens_in("fit") < 1000 + each
    assert 200 <= held.tokens_in("test") < 200 + each
    assert set(held.splits) == {"fit", "test"}
    assert read < 4 * store.BATCH


def test_progress_adds_up(bpe: Tokeniser, tmp_path: Path) -> None:
    told: list[int] = []
    held = store.build(DOCUMENTS, bpe, tmp_path / "text", progress=told.append)
    assert sum(told) == held.n_tokens


def test_interrupted_leaves_nothing_that_opens(bpe: Tokeniser, tmp_path: Path) -> None:
    store.build(DOCUMENTS, bpe, tmp_path / "text")  # an older, complete store in the same place

    def stops() -> Iterator[tuple[str, Document]]:
        yield from DOCUMENTS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build(stops(), bpe, tmp_path / "text")
    with pytest.raises(MonoscopeError, match="not complete"):
        TokenStore(tmp_path / "text")
    assert len(store.build(DOCUMENTS, bpe, tmp_path / "text")) == 3


@pytest.mark.parametrize("name", ["tokens.u32", "starts.u32", "ends.u32", "text.bin", "documents.json"])
def test_truncated_or_missing_files_are_named(bpe: Tokeniser, tmp_path: Path, name: str) -> None:
    path = store.build(DOCUMENTS, bpe, tmp_path / "text").path / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(MonoscopeError, match=name):
        TokenStore(tmp_path / "text")
    path.unlink()
    with pytest.raises(MonoscopeError, match=f"{name} is missing"):
        TokenStore(tmp_path / "text")


def test_a_changed_byte_is_found(bpe: Tokeniser, tmp_path: Path) -> None:
    held = store.build(DOCUMENTS, bpe, tmp_path / "text")
    assert folder.verify(held.path) == []
    data = bytearray((held.path / "text.bin").read_bytes())
    data[0] ^= 1
    (held.path / "text.bin").write_bytes(data)
    assert folder.verify(held.path) == ["text.bin"]


def test_errors(bpe: Tokeniser, tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match="no tokens"):
        store.build([("fit", Document("empty", ""))], bpe, tmp_path / "empty")
    with pytest.raises(MonoscopeError, match="split 'test'"):
        store.build([("fit", Document("a", "text"))], bpe, tmp_path / "one", budget={"fit": 1, "test": 1})
    with pytest.raises(MonoscopeError, match="does not exist"):
        TokenStore(tmp_path / "nowhere")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MonoscopeError, match="cannot write"):
        store.build(DOCUMENTS, bpe, tmp_path / "file")
    other = tmp_path / "other"
    other.mkdir()
    folder.seal(other, "dictionary", {}, [])
    with pytest.raises(MonoscopeError, match="holds 'dictionary', not 'text'"):
        TokenStore(other)


def test_the_manifest_lists_every_file(bpe: Tokeniser, tmp_path: Path) -> None:
    held = store.build(DOCUMENTS, bpe, tmp_path / "text")
    listed = json.loads((held.path / "manifest.json").read_text())["files"]
    assert {p.name for p in held.path.iterdir()} == {*listed, "manifest.json"}
