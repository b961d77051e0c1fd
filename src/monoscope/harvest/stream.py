"""Activations straight from a model, stored nowhere: in reading order, or in the shuffled chunks of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Int

from monoscope.errors import MonoscopeError
from monoscope.models.language_model import LanguageModel
from monoscope.text import pack
from monoscope.text.store import TokenStore
from monoscope.types import Activations, Site, TokenBlock

TOKENS_PER_BLOCK = 16_384
ROWS_PER_CHUNK = 131_072


def read(lm: LanguageModel, block: TokenBlock, sites: Sequence[Site | str], dtype: torch.dtype) -> Activations:
    """One block's rows: document tokens only, window after window."""
    with torch.inference_mode():
        found = lm.run(block, read=sites)
    keep = block.is_text
    values = {site: tensor[keep].to(dtype) for site, tensor in found.items()}
    return Activations(values, block.documents[keep], block.positions[keep])


def stream(
    lm: LanguageModel,
    store: TokenStore,
    documents: Sequence[int] | Int[np.ndarray, " n"],
    sites: Sequence[Site | str],
    *,
    tokens_per_block: int = TOKENS_PER_BLOCK,
) -> Iterator[Activations]:
    """Every token of ``documents`` once, in order: lines up with ``Rows(store, documents)``. fp32."""
    for block in pack.blocks(store, documents, lm.tokeniser, lm.window, tokens_per_block=tokens_per_block):
        yield read(lm, block, sites, torch.float32)


class Stream:
    """A ``RowSource`` that runs the model when a chunk is asked for.

    The windows of all documents are shuffled once by ``seed``; a chunk is the next ``rows_per_chunk`` of their rows,
    shuffled again, so that every batch mixes many documents. Chunk ``i`` is the same whoever asks, whenever. The newest
    one is kept until another is asked for.
    """

    def __init__(
        self,
        lm: LanguageModel,
        store: TokenStore,
        documents: Sequence[int] | Int[np.ndarray, " n"],
        sites: Sequence[Site | str],
        *,
        n_rows: int | None = None,
        of_each: int | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.bfloat16,
        rows_per_chunk: int = ROWS_PER_CHUNK,
    ) -> None:
        """Plan the chunks; no model is run yet.

        Args:
            documents: indices into ``store``.
            sites: what is read, row-aligned.
            n_rows: stop after the windows that hold so many rows (None: all of them).
            of_each: so many tokens of each document are enough, and its window in which they are reached is its last;
                more where ``n_rows`` asks for more (None: all of them).
            dtype: of the values; bf16 is what shards hold, so that a stream and its shards train alike.

        Raises:
            MonoscopeError: a site the model lacks, or fewer tokens than ``n_rows``.
        """
        self.lm, self.store, self.seed, self.dtype = lm, store, seed, dtype
        self.sites = [str(Site.parse(s)) for s in sites]
        self.widths = {site: lm.width(Site.parse(site)) for site in self.sites}
        windows = pack.windows(store, documents, lm.tokeniser, lm.window)
        windows = windows[np.random.default_rng((seed, 0)).permutation(len(windows))]
        ends = np.cumsum(windows[:, 2])
        available = int(ends[-1]) if len(ends) else 0
        if n_rows is not None and available < n_rows:
            raise MonoscopeError(
                f"{n_rows:,} tokens are wanted, the text holds {available:,}",
                fix="give more text, or ask for fewer tokens",
            )
        if of_each is not None:
            windows = evenly(windows, of_each, n_rows or 0)
            ends = np.cumsum(windows[:, 2])
        last = len(windows) if n_rows is None else int(np.searchsorted(ends, n_rows)) + 1
        chunk_of = (ends[:last] - windows[:last, 2]) // rows_per_chunk
        self.windows = [windows[:last][chunk_of == c] for c in range(int(chunk_of[-1]) + 1 if last else 0)]
        self.counts = [int(w[:, 2].sum()) for w in self.windows]
        self._newest: tuple[int, Activations] | None = None

    def chunk(self, index: int) -> Activations:
        """One chunk's rows: the model is run over its windows, unless they are the newest ones made."""
        if self._newest is None or self._newest[0] != index:
            self._newest = None  # two chunks are never held at once
            self._newest = index, self._run(index)
        return self._newest[1]

    def _run(self, index: int) -> Activations:
        windows, context = self.windows[index], self.lm.window
        size = max(1, TOKENS_PER_BLOCK // context)
        count = self.counts[index]
        order = torch.from_numpy(np.random.default_rng((self.seed, 1, index)).permutation(count))
        values = {site: torch.empty(count, width, dtype=self.dtype) for site, width in self.widths.items()}
        documents, positions = torch.empty(count, dtype=torch.int32), torch.empty(count, dtype=torch.int32)
        at = 0
        for first in range(0, len(windows), size):
            block = pack.block(self.store, windows[first : first + size], self.lm.tokeniser, context)
            rows = read(self.lm, block, self.sites, self.dtype)
            place = order[at : at + len(rows)]  # scattered to their shuffled places as they come
            for site, tensor in rows.values.items():
                values[site][place] = tensor.cpu()
            documents[place], positions[place] = rows.documents.int(), rows.positions.int()
            at += len(rows)
        return Activations(values, documents, positions)


def evenly(windows: Int[np.ndarray, "n 3"], of_each: int, wanted: int) -> Int[np.ndarray, "m 3"]:
    """Those before which their document has fewer than ``of_each`` tokens, in their order.

    It is doubled until ``wanted`` tokens are left; there must be so many.
    """
    order = np.argsort(windows[:, 0], kind="stable")
    documents, lengths = windows[order, 0], windows[order, 2]
    begun = np.cumsum(lengths) - lengths
    firsts = np.flatnonzero(np.diff(documents, prepend=-1))
    before = np.empty_like(begun)
    before[order] = begun - np.repeat(begun[firsts], np.diff(firsts, append=len(order)))
    while windows[before < of_each, 2].sum() < wanted:
        of_each *= 2
    return windows[before < of_each]
