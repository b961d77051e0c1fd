"""A document prepared for concepts: what they all need is worked out once.

A token belongs to a span of the text when its *anchor* lies in it. The anchor is the token's first byte that is not
white space, because byte-level tokens carry the space before a word; a token of white space alone is anchored at its
first byte. A token that straddles the end of a span (``",`` ends a string and starts an operator) therefore belongs to
what it begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numba
import numpy as np
from jaxtyping import Bool, Int

from monoscope.concepts._python import Python, read_python
from monoscope.types import TokenisedDocument

T = TypeVar("T")

_SPACE = np.zeros(256, dtype=bool)
_SPACE[[9, 10, 11, 12, 13, 32]] = True


class Lexicon:
    """The distinct spellings (bytes) of tokens, numbered; shared by documents so that each is examined once."""

    def __init__(self) -> None:
        self.spellings: list[bytes] = []
        self._number: dict[bytes, int] = {}
        self._tables: dict[Callable[[bytes], bool], Bool[np.ndarray, " n"]] = {}

    def __len__(self) -> int:
        return len(self.spellings)

    def numbers(self, spellings: Sequence[bytes]) -> Int[np.ndarray, " n"]:
        """The number of each spelling; new ones are added."""
        known = self._number
        for new in dict.fromkeys(spellings):
            if new not in known:
                known[new] = len(self.spellings)
                self.spellings.append(new)
        return np.fromiter(map(known.__getitem__, spellings), dtype=np.int32, count=len(spellings))

    def table(self, predicate: Callable[[bytes], bool]) -> Bool[np.ndarray, " n_spellings"]:
        """``predicate`` of every spelling so far; each is asked once."""
        done = self._tables.get(predicate)
        n_done = 0 if done is None else len(done)
        if done is None or n_done < len(self.spellings):
            fresh = np.array([predicate(s) for s in self.spellings[n_done:]], dtype=bool)
            done = fresh if done is None else np.concatenate([done, fresh])
            self._tables[predicate] = done
        return done


class Analysed:
    """A tokenised document with its bytes, anchors, spellings and, where it is Python, its syntax."""

    def __init__(self, document: TokenisedDocument, lexicon: Lexicon | None = None) -> None:
        self.document = document
        self.lexicon = Lexicon() if lexicon is None else lexicon
        self.data = document.text.encode()
        self._once: dict[Callable[[Analysed], Any], Any] = {}

    def __len__(self) -> int:
        return len(self.document)

    def once(self, make: Callable[[Analysed], T]) -> T:
        """``make(self)``, computed once for this document and shared by whoever asks with the same function."""
        if make not in self._once:
            self._once[make] = make(self)
        return self._once[make]

    @cached_property
    def byte_values(self) -> Int[np.ndarray, " n_bytes"]:
        """The document's UTF-8 bytes as numbers."""
        return np.frombuffer(self.data, dtype=np.uint8)

    @cached_property
    def is_space(self) -> Bool[np.ndarray, " n_bytes"]:
        """True on white-space bytes."""
        return _SPACE[self.byte_values]

    @cached_property
    def next_ink(self) -> Int[np.ndarray, " n_bytes_plus_1"]:
        """For every byte, the first byte at or after it that is not white space (the end of the text if none is)."""
        n = len(self.data)
        ink = np.append(np.where(self.is_space, n, np.arange(n)), n)
        return np.minimum.accumulate(ink[::-1])[::-1]

    @cached_property
    def anchors(self) -> Int[np.ndarray, " n_tokens"]:
        """The byte by which each token is judged (see above); never decreasing."""
        starts, ends = self.document.starts, self.document.ends
        ink = self.next_ink[starts]
        return np.maximum.accumulate(np.where(ink < ends, ink, starts))

    @cached_property
    def first_token(self) -> Int[np.ndarray, " n_bytes_plus_2"]:
        """For every byte, the first token anchored at or after it."""
        before = np.cumsum(np.bincount(self.anchors, minlength=len(self.data) + 1))
        return np.concatenate([[0], before]).astype(np.int32)

    @cached_property
    def spellings(self) -> Int[np.ndarray, " n_tokens"]:
        """The number of each token's spelling in ``lexicon``."""
        return self.lexicon.numbers(self.document.token_bytes())

    @cached_property
    def python(self) -> Python | None:
        """What ``tokenize`` and ``ast`` say of the document; None when it is not Python."""
        return read_python(self.document.text, self.data)

    def spelled(self, predicate: Callable[[bytes], bool]) -> Bool[np.ndarray, " n_tokens"]:
        """Tokens whose spelling satisfies ``predicate``."""
        spellings = self.spellings  # numbered first: the table covers what has been numbered
        return self.lexicon.table(predicate)[spellings]

    def nothing(self) -> Bool[np.ndarray, " n_tokens"]:
        """False on every token."""
        return np.zeros(len(self), dtype=bool)

    def paint(self, spans: Iterable[int] | Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n_tokens"]:
        """Tokens anchored in any of the byte spans, given flat: ``start, end, start, end, …``."""
        flat = spans if isinstance(spans, np.ndarray) else np.array(list(spans), dtype=np.int64)
        mask = self.nothing()
        if len(flat):
            _paint(mask, self.first_token, np.ascontiguousarray(flat, dtype=np.int64))
        return mask

    def at_anchor(self, holds: Bool[np.ndarray, " n_bytes"]) -> Bool[np.ndarray, " n_tokens"]:
        """Tokens whose anchor byte satisfies ``holds``."""
        return np.append(holds, False)[self.anchors]

    def at_any_byte(self, holds: Bool[np.ndarray, " n_bytes"]) -> Bool[np.ndarray, " n_tokens"]:
        """Tokens of which any byte satisfies ``holds``: for tokens that cover parts of a code point."""
        before = np.concatenate([[0], np.cumsum(holds)])
        return before[self.document.ends] > before[self.document.starts]


@numba.njit(cache=True, nogil=True)
def _paint(mask: np.ndarray, first_token: np.ndarray, flat: np.ndarray) -> None:
    for i in range(0, len(flat) - 1, 2):
        for token in range(first_token[flat[i]], first_token[flat[i + 1]]):
            mask[token] = True
