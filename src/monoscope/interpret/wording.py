"""Labels in writing: as an expression that can be run, and as words for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

from monoscope.concepts import Concept, token_literal
from monoscope.interpret.search import NONE, TOKENS

SHOWN = 4  # tokens of a set that are spelled out in words

_VISIBLE = str.maketrans({" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"})
_RUN = re.compile("·{4,}")
# What a phrase begins with when it says where a token stands, and not what it is.
_PLACES = frozenset(
    "in inside on at after before right under between among beyond first last starting ending holding continuing "
    "directly exactly seen second part seven nine".split()
)


def spelled(spelling: bytes) -> str:
    """A token made visible, in backticks: ``·return``, ``⏎·×8``, ``\\xe1\\x8e``."""
    text = spelling.decode(errors="backslashreplace").translate(_VISIBLE)
    return "`" + _RUN.sub(lambda run: f"·×{len(run[0])}", text) + "`"


def tokens_in_words(spellings: Sequence[bytes]) -> str:
    """A set of tokens: at most ``SHOWN`` are spelled out."""
    shown = [spelled(s) for s in spellings[:SHOWN]]
    if len(spellings) > SHOWN:
        return ", ".join(shown) + f" and {len(spellings) - SHOWN} more"
    return " or ".join(([", ".join(shown[:-1])] if shown[:-1] else []) + shown[-1:])


def tokens_in_writing(spellings: Sequence[bytes]) -> str:
    """A set of tokens as an expression."""
    return " | ".join(token_literal(s) for s in spellings)


def in_writing(concepts: Sequence[Concept], first: int, second: int, spellings: Sequence[bytes]) -> str:
    """A conjunction as an expression; ``first`` and ``second`` as in ``search.Findings``."""
    if first == TOKENS:
        written = tokens_in_writing(spellings)
        start = f"({written})" if len(spellings) > 1 and second != NONE else written
    else:
        start = concepts[first].name
    if second == NONE:
        return start
    negated = second < NONE
    return f"{start} & {'~' if negated else ''}{concepts[-3 - second if negated else second].name}"


def in_words(concepts: Sequence[Concept], first: int, second: int, spellings: Sequence[bytes]) -> str:
    """A conjunction for people: what the token is, then where it stands."""
    start = tokens_in_words(spellings) if first == TOKENS else concepts[first].words
    if second == NONE:
        return start
    if second < NONE:
        phrase = concepts[-3 - second].words
        return f"{start}, {'not' if _is_place(phrase) else 'other than'} {phrase}"
    phrase = concepts[second].words
    if first != TOKENS and _is_place(start) and not _is_place(phrase):
        start, phrase = phrase, start
    return (
        f"{start} {phrase}"
        if _is_place(phrase) and not (first != TOKENS and _is_place(start))
        else f"{start}, {phrase}"
    )


def _is_place(phrase: str) -> bool:
    return phrase.partition(" ")[0] in _PLACES
