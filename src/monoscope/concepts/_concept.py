"""A concept: a name, words, and the tokens of a document on which it holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from monoscope import plugins
from monoscope.concepts._analysed import Analysed
from monoscope.types import TokenisedDocument


@dataclass(frozen=True)
class Concept:
    """An executable predicate over tokens.

    ``name`` is an identifier, unique among all concepts. ``words`` is a noun phrase for what the token is ("a number in
    hexadecimal") or begins with a preposition or participle for where it stands ("inside a docstring"). ``family`` is
    the file that defines it. ``find`` answers for a prepared document; ``mask`` prepares one where needed. ``own`` says
    that a token's own bytes decide, wherever it stands: such a concept is a class of the vocabulary's tokens as well.
    """

    name: str
    words: str
    family: str
    find: Callable[[Analysed], Bool[np.ndarray, " n_tokens"]] = field(repr=False, compare=False)
    own: bool = field(default=False, compare=False)

    def mask(self, document: TokenisedDocument | Analysed) -> Bool[np.ndarray, " n_tokens"]:
        """True on the tokens of ``document`` on which the concept holds; ``(n_tokens,)``."""
        return self.find(document if isinstance(document, Analysed) else Analysed(document))


class Spans(dict[str, list[int]]):
    """Byte spans by concept name, each list flat: start, end, start, end, …"""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__({name: [] for name in names})

    def add(self, name: str, span: tuple[int, int]) -> None:
        """Note that the concept ``name`` holds on ``span``."""
        self[name] += span


def painted(family: str, words: Mapping[str, str], collect: Callable[[Analysed], Spans]) -> list[Concept]:
    """Concepts that hold on byte spans; ``collect`` finds the spans of the whole family in one go."""

    def find(name: str) -> Callable[[Analysed], Bool[np.ndarray, " n_tokens"]]:
        return lambda document: document.paint(document.once(collect)[name])

    return [Concept(name, phrase, family, find(name)) for name, phrase in words.items()]


def painted_python(family: str, words: Mapping[str, str], collect: Callable[[Analysed, Spans], None]) -> list[Concept]:
    """The same for spans that come from Python's syntax: nothing holds on a document that is not Python."""

    def everything(document: Analysed) -> Spans:
        spans = Spans(words)
        if document.python is not None:
            collect(document, spans)
        return spans

    return painted(family, words, everything)


def spelled(family: str, name: str, words: str, predicate: Callable[[bytes], bool]) -> Concept:
    """A concept that looks at a token's own bytes alone."""
    return Concept(name, words, family, lambda document: document.spelled(predicate), own=True)


def matching(pattern: bytes) -> Callable[[bytes], bool]:
    """The predicate of spellings that match a regular expression as a whole."""
    whole = re.compile(pattern).fullmatch
    return lambda spelling: whole(spelling) is not None


@lru_cache(maxsize=1)
def every() -> tuple[Concept, ...]:
    """All concepts of all families of this folder, family after family."""
    package = __package__ or "monoscope.concepts"
    return tuple(c for family in plugins.names(package) for c in plugins.load(package, family).concepts())
