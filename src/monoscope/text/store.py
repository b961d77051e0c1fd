"""Tokenised text on disk: tokens, the bytes that each covers, and the text itself.

A ``TokenStore`` is a folder of flat arrays that are memory-mapped when read, so that its size is bounded by the disk
and not by memory. Every later artefact names a token by (document, position) and finds its text here.

=====================  =======  ==================================================
file                   type     what
=====================  =======  ==================================================
``tokens.u32``         uint32   token ids, document after document
``starts.u32``         uint32   first byte of each token in its document
``ends.u32``           uint32   byte after the last of each token in its document
``text.bin``           bytes    the documents' UTF-8 text, document after document
``documents.json``              name, split, first token, first byte of each
=====================  =======  ==================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Int

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document, TokenisedDocument

KIND = "text"
BATCH = 256  # documents tokenised at once: enough for every core, a few MB of text


class TokenStore:
    """Documents as tokens, with the text that they came from. Open one with its folder; make one with ``build``."""

    def __init__(self, path: str | Path) -> None:
        """Open a complete store.

        Raises:
            MonoscopeError: the folder is missing, incomplete or damaged.
        """
        self.path = Path(path)
        self.manifest = folder.unseal(self.path, KIND)
        listed = folder.read_json(self.path / "documents.json")
        self.names: list[str] = listed["names"]
        self.splits: list[str] = listed["splits"]
        self.token_offsets = np.array(listed["token_offsets"], dtype=np.int64)
        self.byte_offsets = np.array(listed["byte_offsets"], dtype=np.int64)
        self.tokens = self._map("tokens.u32", np.uint32)
        self.starts = self._map("starts.u32", np.uint32)
        self.ends = self._map("ends.u32", np.uint32)
        self._text = self._map("text.bin", np.uint8)

    def _map(self, name: str, dtype: type) -> np.ndarray:
        path = self.path / name
        return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.names)

    @property
    def n_tokens(self) -> int:
        """The number of tokens of all documents."""
        return int(self.token_offsets[-1])

    def text(self, document: int) -> bytes:
        """A document's UTF-8 text."""
        return self._text[self.byte_offsets[document] : self.byte_offsets[document + 1]].tobytes()

    def document(self, index: int) -> TokenisedDocument:
        """A document with its tokens and their byte offsets."""
        span = slice(self.token_offsets[index], self.token_offsets[index + 1])
        return TokenisedDocument(
            self.names[index],
            self.text(index).decode(),
            self.tokens[span].astype(np.int64),
            self.starts[span].astype(np.int64),
            self.ends[span].astype(np.int64),
        )

    def documents(self, *splits: str) -> Int[np.ndarray, " n"]:
        """The indices of the documents of these splits, in order; of all documents when none is named."""
        return np.array([i for i, s in enumerate(self.splits) if not splits or s in splits], dtype=np.int64)

    def length(self, document: int) -> int:
        """How many tokens a document has."""
        return int(self.token_offsets[document + 1] - self.token_offsets[document])

    def tokens_in(self, *splits: str) -> int:
        """How many tokens these splits hold."""
        chosen = self.documents(*splits)
        return int((self.token_offsets[chosen + 1] - self.token_offsets[chosen]).sum())

    def excerpt(self, document: int, first: int, last: int) -> list[bytes]:
        """The bytes of tokens ``first`` to ``last`` (exclusive, clipped to the document)."""
        base, stop = self.token_offsets[document], self.token_offsets[document + 1]
        a, b = base + max(0, first), min(stop, base + max(0, last))
        text = self.text(document)
        return [text[s:e] for s, e in zip(self.starts[a:b].tolist(), self.ends[a:b].tolist(), strict=True)]

    def rows_of(self, documents: Int[np.ndarray, " n"], positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The index among all tokens of each (document, position)."""
        return self.token_offsets[documents] + positions

    def locate(self, rows: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """The (documents, positions) of indices among all tokens."""
        documents = np.searchsorted(self.token_offsets, rows, side="right") - 1
        return documents, rows - self.token_offsets[documents]


def build(
    documents: Iterable[tuple[str, Document]],
    tokeniser: Tokeniser,
    out: str | Path,
    *,
    budget: dict[str, int] | None = None,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenStore:
    """Tokenise documents into a new store, in order, without holding them in memory.

    Args:
        documents: (split, document) pairs.
        tokeniser: what cuts them.
        out: the folder; a half-written one is begun anew.
        budget: split → tokens after which further documents of that split are passed over; reading ends when every
            budget is filled. The last document is kept whole.
        progress: told the number of tokens of each batch.

    Raises:
        MonoscopeError: no document held a token, a budgeted split stayed empty, or the folder cannot be written.
    """
    out = Path(out)
    names: list[str] = []
    splits: list[str] = []
    token_offsets, byte_offsets = [0], [0]
    counts: dict[str, int] = dict.fromkeys(budget or {}, 0)

    def wanted(pairs: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
        for split, document in pairs:
            if budget is None or counts.get(split, 0) < budget.get(split, 0):
                yield split, document
            elif all(counts[s] >= budget[s] for s in budget):
                return

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / folder.MANIFEST).unlink(missing_ok=True)  # from here on the folder is not complete
        with (
            (out / "tokens.u32").open("wb") as tokens,
            (out / "starts.u32").open("wb") as starts,
            (out / "ends.u32").open("wb") as ends,
            (out / "text.bin").open("wb") as text,
        ):
            remaining = wanted(documents)
            while batch := list(islice(remaining, BATCH)):
                before = token_offsets[-1]
                for (split, _), done in zip(batch, tokeniser.documents([d for _, d in batch]), strict=True):
                    if len(done) == 0 or (budget and counts[split] >= budget[split]):
                        continue
                    tokens.write(done.tokens.astype(np.uint32).tobytes())
                    starts.write(done.starts.astype(np.uint32).tobytes())
                    ends.write(done.ends.astype(np.uint32).tobytes())
                    token_offsets.append(token_offsets[-1] + len(done))
                    byte_offsets.append(byte_offsets[-1] + text.write(done.text.encode()))
                    names.append(done.name)
                    splits.append(split)
                    counts[split] = counts.get(split, 0) + len(done)
                progress(token_offsets[-1] - before)
    except OSError as error:
        raise folder.unwritable(out / "tokens.u32", error) from error
    if not names:
        raise MonoscopeError("the text holds no tokens", fix="check that --text names files with text in them")
    for split in budget or {}:
        if counts[split] == 0:
            raise MonoscopeError(f"no document fell into the split {split!r}", fix="give more text, in more documents")
    listed = {"names": names, "splits": splits, "token_offsets": token_offsets, "byte_offsets": byte_offsets}
    folder.write_json(out / "documents.json", listed)
    facts = {"tokeniser": tokeniser.name, "tokens": counts, "documents": len(names)}
    folder.seal(out, KIND, facts, ["tokens.u32", "starts.u32", "ends.u32", "text.bin", "documents.json"])
    return TokenStore(out)
