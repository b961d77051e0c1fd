"""The tokens of some documents as one numbered sequence of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt

from monoscope.errors import MonoscopeError
from monoscope.text.store import TokenStore


class Rows:
    """Numbers the tokens of chosen documents ``0 … n - 1``, document after document.

    ``documents`` are indices into the store; ``offsets[i]`` is the first row of ``documents[i]``, and the last entry
    of ``offsets`` is the number of rows.
    """

    def __init__(self, store: TokenStore, documents: Sequence[int] | Int[np.ndarray, " n"]) -> None:
        self.store = store
        self.documents = np.asarray(documents, dtype=np.int64)
        lengths = store.token_offsets[self.documents + 1] - store.token_offsets[self.documents]
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self._slot = np.full(len(store), -1, dtype=np.int64)
        self._slot[self.documents] = np.arange(len(self.documents))

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def locate(self, rows: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """The (document, position) of rows; documents are the store's indices."""
        slots = np.searchsorted(self.offsets, rows, side="right") - 1
        return self.documents[slots], rows - self.offsets[slots]

    def index(self, documents: Int[np.ndarray, " n"], positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The row of each (document, position).

        Raises:
            MonoscopeError: a document is not among the chosen ones.
        """
        slots = self._slot[documents]
        if np.any(slots < 0):
            raise MonoscopeError("these rows do not cover the document", fix="number the documents that are asked for")
        return self.offsets[slots] + positions

    def slots(self) -> Int[np.ndarray, " n_rows"]:
        """For every row, which of the chosen documents (0, 1, …) it belongs to."""
        return np.repeat(np.arange(len(self.documents)), np.diff(self.offsets))

    def tokens(self) -> UInt[np.ndarray, " n_rows"]:
        """The token id of every row."""
        store = self.store
        parts = [store.tokens[store.token_offsets[d] : store.token_offsets[d + 1]] for d in self.documents]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def in_split(self, split: str) -> Bool[np.ndarray, " n_rows"]:
        """True on the rows whose document belongs to ``split``."""
        chosen = np.array([self.store.splits[d] == split for d in self.documents], dtype=bool)
        return np.repeat(chosen, np.diff(self.offsets))
