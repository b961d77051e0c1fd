"""Places: for every token another one whose spelling may matter, such as the one before it or the first of its line.

A place gives each token of a document the number of one other token, or -1. It makes literals that are found by the
data and not named one by one: ``previous(' at')`` holds where the token before is `` at``. A further place is a
further entry of ``PLACES``; the expressions, the search and the words for people all read that list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numba
import numpy as np
from jaxtyping import Bool, Int

from monoscope.concepts._analysed import Analysed


@dataclass(frozen=True)
class Place:
    """A place by name; ``words`` is a phrase with ``{}`` for the tokens that stand there."""

    name: str
    words: str
    find: Callable[[Analysed], Int[np.ndarray, " n_tokens"]] = field(repr=False, compare=False)


def _back(steps: int) -> Callable[[Analysed], Int[np.ndarray, " n_tokens"]]:
    """The token so many before; ahead where ``steps`` is negative."""

    def find(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
        other = np.arange(len(document)) - steps
        return np.where((other >= 0) & (other < len(document)), other, -1)

    return find


def _lines(document: Analysed) -> tuple[Int[np.ndarray, " n_tokens"], Int[np.ndarray, " n_lines"]]:
    """Each token's line, by its anchor, and the first token with ink of each line (-1 where it has none)."""
    breaks = np.cumsum(document.byte_values == 10)
    line = np.append(np.concatenate([[0], breaks[:-1]]), breaks[-1:])[document.anchors] if len(breaks) else np.zeros(0)
    inked = np.flatnonzero(~np.append(document.is_space, True)[document.anchors])
    first = np.full(int(breaks[-1]) + 1 if len(breaks) else 1, -1)
    first[line[inked[::-1]].astype(np.int64)] = inked[::-1]
    return line.astype(np.int64), first


def _line_first(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    line, first = document.once(_lines)
    return first[line]


def _above_first(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The first token of the nearest line above that has ink."""
    line, first = document.once(_lines)
    inked = np.maximum.accumulate(np.where(first >= 0, np.arange(len(first)), -1))
    above = np.concatenate([[-1], inked[:-1]])[line]
    return np.where(above >= 0, first[above], -1)


def _runs(document: Analysed) -> tuple[Int[np.ndarray, " n_tokens"], Int[np.ndarray, " n_tokens"], np.ndarray]:
    """How many words begin up to each token's anchor, whether the anchor is in one, and their first tokens."""
    inside = np.append(_WORD[document.byte_values], False)
    begins = inside & ~np.concatenate([[False], inside[:-1]])
    begun = np.cumsum(begins)
    first = np.searchsorted(document.document.starts, np.flatnonzero(begins), side="right") - 1
    return begun[document.anchors], inside[document.anchors], first


def _word_first(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The first token of the word that the token continues."""
    begun, inside, first = document.once(_runs)
    other = np.append(first, -1)[begun - 1]
    return np.where(inside & (other < np.arange(len(document))), other, -1)


def _word_before(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The first token of the last word before the token's own."""
    begun, inside, first = document.once(_runs)
    number = begun - 1 - inside
    return np.where(number >= 0, np.append(first, -1)[number], -1)


def _bracket_head(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The token before the innermost bracket that is open."""
    owner = np.full(len(document.data) + 1, -1, dtype=np.int64)
    _open_brackets(document.byte_values, owner)
    bracket = owner[document.anchors]
    head = np.searchsorted(document.document.starts, bracket, side="right") - 2
    return np.where(bracket >= 0, np.maximum(head, -1), -1)


@numba.njit(cache=True, nogil=True)
def _open_brackets(data: np.ndarray, owner: np.ndarray) -> None:
    """The innermost open bracket of every byte; all count as closed where a word begins a line at its margin."""
    stack = np.empty(len(data) + 1, dtype=np.int64)
    depth = 0
    for i in range(len(data)):
        byte = data[i]
        if depth > 0 and byte in (41, 93, 125) and data[stack[depth - 1]] == (40 if byte == 41 else byte - 2):
            depth -= 1
        if i > 0 and data[i - 1] == 10 and (97 <= byte <= 122 or 65 <= byte <= 90 or byte == 64):
            depth = 0
        owner[i] = stack[depth - 1] if depth > 0 else -1
        if byte in (40, 91, 123):
            stack[depth] = i
            depth += 1
    owner[len(data)] = -1


_WORD = np.zeros(256, dtype=bool)
_WORD[[*range(48, 58), *range(65, 91), 95, *range(97, 123), *range(128, 256)]] = True

PLACES = (
    Place("token", "{}", _back(0)),  # the token itself: always first
    Place("previous", "right after {}", _back(1)),
    Place("previous_2", "two tokens after {}", _back(2)),
    Place("previous_3", "three tokens after {}", _back(3)),
    Place("following", "right before {}", _back(-1)),
    Place("line_first", "on a line that begins with {}", _line_first),
    Place("above_first", "under a line that begins with {}", _above_first),
    Place("word_first", "continuing a word begun with {}", _word_first),
    Place("word_before", "after a word that begins with {}", _word_before),
    Place("bracket_head", "in a bracket opened after {}", _bracket_head),
)


def place_spellings(document: Analysed) -> Int[np.ndarray, "n_tokens n_places"]:
    """The number of the spelling that stands at each place of each token; -1 where nothing does."""
    spellings = np.append(document.spellings, -1).astype(np.int32)
    return np.stack([spellings[place.find(document)] for place in PLACES], axis=1)


def spelled_at(document: Analysed, place: Place, predicate: Callable[[bytes], bool]) -> Bool[np.ndarray, " n_tokens"]:
    """Tokens at whose ``place`` stands a token whose spelling satisfies ``predicate``."""
    return np.append(document.spelled(predicate), False)[document.once(place.find)]
