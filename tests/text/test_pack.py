"""Packing: every token once, no window of two documents, frames marked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.text import pack, store
from monoscope.text.store import TokenStore
from monoscope.text.tokenise import Tokeniser
from monoscope.types import PADDING, SEPARATOR, Document

relaxed = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def framed(tokeniser: Tokeniser, tmp_path_factory: pytest.TempPathFactory) -> tuple[TokenStore, Tokeniser]:
    documents = [("fit", Document(str(i), "the fox " * n)) for i, n in enumerate([1, 30, 5, 5, 64])]
    return store.build(documents, tokeniser, tmp_path_factory.mktemp("pack") / "text"), tokeniser


@relaxed
@given(context=st.integers(3, 40), tokens_per_block=st.integers(1, 400), chosen=st.permutations(range(5)))
def test_windows_tile_every_document_once_in_order(framed, context, tokens_per_block, chosen) -> None:
    held, tokeniser = framed
    chosen = chosen[:4]
    seen: list[tuple[int, int, int]] = []
    for block in pack.blocks(held, chosen, tokeniser, context, tokens_per_block=tokens_per_block):
        assert block.tokens.shape == block.documents.shape == block.positions.shape
        assert block.tokens.shape[1] <= context
        assert all(row[row >= 0].unique().numel() == 1 for row in block.documents), "a window of two documents"
        text = block.is_text
        seen += zip(block.documents[text].tolist(), block.positions[text].tolist(), block.tokens[text].tolist())
    expected = [(d, p, int(t)) for d in chosen for p, t in enumerate(held.document(d).tokens)]
    assert seen == expected


@relaxed
@given(context=st.integers(3, 40))
def test_frames_and_padding_are_marked(framed, context: int) -> None:
    held, tokeniser = framed
    before, after = len(tokeniser.prefix), len(tokeniser.suffix)
    for block in pack.blocks(held, range(5), tokeniser, context):
        for tokens, documents, mask in zip(block.tokens, block.documents, block.attention_mask):
            n_text = int((documents >= 0).sum())
            used = before + n_text + after
            kinds = [SEPARATOR] * before + [int(documents.max())] * n_text + [SEPARATOR] * after
            assert documents.tolist() == kinds + [PADDING] * (len(tokens) - used)
            assert tokens[:before].tolist() == tokeniser.prefix
            assert tokens[before + n_text : used].tolist() == tokeniser.suffix
            assert tokens[used:].tolist() == [tokeniser.padding] * (len(tokens) - used)
            assert mask.tolist() == [1] * used + [0] * (len(tokens) - used)


def test_strided_blocks_are_a_partition(framed) -> None:
    held, tokeniser = framed
    whole = list(pack.blocks(held, range(5), tokeniser, 8, tokens_per_block=16))
    assert len(whole) > 6
    for n in (1, 2, 3):
        parts = [
            list(pack.blocks(held, range(5), tokeniser, 8, tokens_per_block=16, start=i, step=n)) for i in range(n)
        ]
        for i, block in enumerate(whole):
            assert torch.equal(parts[i % n][i // n].tokens, block.tokens)
        assert sum(map(len, parts)) == len(whole)


def test_mixed_joins_documents_with_a_separator(text_store: TokenStore) -> None:
    joined = pack.mixed(text_store, np.array([2, 0, 6]), 0, 5)
    expected = [t for d in (2, 0, 6) for t in [0, *text_store.document(d).tokens.tolist()]]
    assert joined.shape == (len(expected) // 5, 5)
    assert joined.reshape(-1).tolist() == expected[: joined.size]
    assert pack.mixed(text_store, np.array([], dtype=np.int64), 0, 5).shape == (0, 5)


def test_a_context_without_room_is_refused(text_store: TokenStore, bpe: Tokeniser) -> None:
    with pytest.raises(MonoscopeError, match="no room"):
        pack.windows(text_store, [0], bpe, 1)


def test_no_documents_no_blocks(text_store: TokenStore, bpe: Tokeniser) -> None:
    assert list(pack.blocks(text_store, [], bpe, 8)) == []
