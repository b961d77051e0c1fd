"""The text around examples, stored once: blocks of tokens, of which only those that an example's passage meets."""

from __future__ import annotations

from typing import Any

import numpy as np

from monoscope.app.static_site.pack import PackWriter, encode

BLOCK = 512  # tokens
WIDE = (160, 100)  # tokens before and after an example that a reader may see


class Passages:
    """Which blocks the examples' passages meet; then their text."""

    def __init__(self, catalogue: Any) -> None:
        """``catalogue`` is what ``monoscope.open_catalogue`` returns."""
        self._catalogue, self._store = catalogue, catalogue.rows.store
        store = self._store
        lengths = np.array([store.length(d) for d in range(len(store.names))], np.int64)
        self.firsts = np.concatenate([[0], np.cumsum(-(-lengths // BLOCK))]).astype("<u4")  # of each document
        self._wanted = np.zeros(int(self.firsts[-1]), bool)

    def want(self, document: int, position: int) -> None:
        """Keep the blocks around a place."""
        first = max(0, position - WIDE[0]) // BLOCK
        last = min(self._store.length(document) - 1, position + WIDE[1]) // BLOCK
        start = int(self.firsts[document])
        self._wanted[start + first : start + last + 1] = True

    def index(self) -> bytes:
        """The number of each document's first block, deflated JSON."""
        return encode(self.firsts.tolist())

    def write(self, pack: PackWriter) -> None:
        """Write every block, those that nobody wants as empty places."""
        for document in range(len(self._store.names)):
            first, last = int(self.firsts[document]), int(self.firsts[document + 1])
            for block in range(first, last):
                pack.add(self._block(document, block - first) if self._wanted[block] else None)

    def _block(self, document: int, block: int) -> dict[str, Any]:
        length = self._store.length(document)
        first, last = block * BLOCK, min(length, (block + 1) * BLOCK)
        tokens = [token.text for token in self._catalogue.excerpt(document, first, 0, last - first - 1)]
        return {"name": self._store.names[document], "length": length, "first": first, "tokens": tokens}
