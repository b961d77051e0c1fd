"""Packing: documents cut into windows of equal length, each framed as the model expects.

A window never mixes documents, so that no row's activation depends on a text that is not its own; ``mixed`` is for
those who train language models and want every position used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt

from monoscope.errors import MonoscopeError
from monoscope.text.store import TokenStore
from monoscope.text.tokenise import Tokeniser
from monoscope.types import PADDING, SEPARATOR, TokenBlock


def windows(
    store: TokenStore, documents: Sequence[int] | Int[np.ndarray, " n"], tokeniser: Tokeniser, context: int
) -> Int[np.ndarray, "n_windows 3"]:
    """The windows of these documents: (document, first position, number of tokens), in order."""
    room = context - len(tokeniser.prefix) - len(tokeniser.suffix)
    if room < 1:
        raise MonoscopeError(f"a context of {context} leaves no room for text", fix="use a longer context")
    rows = []
    for document in np.asarray(documents):
        firsts = np.arange(0, store.length(int(document)), room)
        lengths = np.minimum(room, store.length(int(document)) - firsts)
        rows.append(np.stack([np.full(len(firsts), document), firsts, lengths], 1))
    return np.concatenate(rows) if rows else np.zeros((0, 3), np.int64)


def block(store: TokenStore, chosen: Int[np.ndarray, "n 3"], tokeniser: Tokeniser, context: int) -> TokenBlock:
    """One block: a row per window, prefix and suffix in place, padded on the right to the longest window."""
    before, after = len(tokeniser.prefix), len(tokeniser.suffix)
    width = min(context, int(chosen[:, 2].max(initial=1)) + before + after)
    tokens = np.full((len(chosen), width), tokeniser.padding, np.int64)
    documents = np.full((len(chosen), width), PADDING, np.int64)
    positions = np.zeros((len(chosen), width), np.int64)
    tokens[:, :before] = tokeniser.prefix
    documents[:, :before] = SEPARATOR
    for i, (document, first, length) in enumerate(chosen.tolist()):
        start = store.token_offsets[document] + first
        stop = before + length
        tokens[i, before:stop] = store.tokens[start : start + length]
        documents[i, before:stop] = document
        positions[i, before:stop] = np.arange(first, first + length)
        tokens[i, stop : stop + after] = tokeniser.suffix
        documents[i, stop : stop + after] = SEPARATOR
    return TokenBlock(torch.from_numpy(tokens), torch.from_numpy(documents), torch.from_numpy(positions))


def blocks(
    store: TokenStore,
    documents: Sequence[int] | Int[np.ndarray, " n"],
    tokeniser: Tokeniser,
    context: int,
    *,
    tokens_per_block: int = 16_384,
    start: int = 0,
    step: int = 1,
) -> Iterator[TokenBlock]:
    """Pack documents into blocks of about ``tokens_per_block`` tokens.

    ``start`` and ``step`` choose every ``step``-th block beginning with ``start``: what a resumed or a distributed
    harvest reads.
    """
    found = windows(store, documents, tokeniser, context)
    size = max(1, tokens_per_block // context)
    for first in range(start * size, len(found), step * size):
        yield block(store, found[first : first + size], tokeniser, context)


def mixed(
    store: TokenStore, documents: Int[np.ndarray, " n"], separator: int, context: int
) -> UInt[np.ndarray, "n_windows context"]:
    """All documents joined by ``separator`` and cut into full windows, documents mixed; the remainder is dropped."""
    pieces = [np.zeros(0, np.uint32)]
    for document in documents:
        start, stop = store.token_offsets[document], store.token_offsets[document + 1]
        pieces.append(np.concatenate([[separator], store.tokens[start:stop]]).astype(np.uint32))
    joined = np.concatenate(pieces)
    return joined[: len(joined) // context * context].reshape(-1, context)
