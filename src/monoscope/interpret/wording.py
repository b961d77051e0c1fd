"""Labels in writing: as an expression that can be run, and as words for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from monoscope.concepts import PLACES, Concept, ConceptBits, Place, token_literal
from monoscope.interpret.claims import AND_NOT, NONE, OR, TOKENS, Claims

SHOWN = 4  # tokens of a set that are spelled out in words

_VISIBLE = str.maketrans({" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"})
_RUN = re.compile("·{4,}")
# What a phrase begins with when it says where a token stands, and not what it is.
_PLACES = frozenset(
    "in inside on at after before right under between among beyond first last starting ending holding continuing "
    "directly exactly seen second part seven nine two three".split()
)


class TokensAt(NamedTuple):
    """A set of tokens (bytes) at a place."""

    place: Place
    spellings: Sequence[bytes]

    @property
    def is_own(self) -> bool:
        """Whether it speaks of the token itself."""
        return self.place is PLACES[0]


class Term(NamedTuple):
    """One literal of a claim and how it joins what stands before it (``claims.AND``, ``AND_NOT``, ``OR``)."""

    join: int
    literal: Concept | TokensAt


def terms(bits: ConceptBits, claims: Claims, i: int) -> list[Term]:
    """The literals of claim ``i``."""
    found = []
    for literal, join, members in zip(
        claims.literals[i].tolist(), claims.joins[i].tolist(), claims.sets[i].tolist(), strict=True
    ):
        if literal == NONE:
            break
        spellings = [bits.lexicon[m] for m in members if m >= 0]
        found.append(
            Term(join, bits.concepts[literal] if literal > NONE else TokensAt(PLACES[TOKENS - literal], spellings))
        )
    return found


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


def in_writing(claim: Sequence[Term]) -> str:
    """A claim as an expression that ``monoscope.concept`` reads."""
    written, operator = _literal(claim[0].literal), "|" if _is_several(claim[0].literal) else ""
    for term in claim[1:]:
        joined = "|" if term.join == OR else "&"
        other = _literal(term.literal)
        if _is_several(term.literal) and (joined == "&" or term.join == AND_NOT):
            other = f"({other})"
        if operator not in ("", joined):
            written = f"({written})"
        written, operator = f"{written} {joined} {'~' if term.join == AND_NOT else ''}{other}", joined
    return written


def _is_several(literal: Concept | TokensAt) -> bool:
    """Whether a literal is written as several, joined by ``|``."""
    return isinstance(literal, TokensAt) and literal.is_own and len(literal.spellings) > 1


def _literal(literal: Concept | TokensAt) -> str:
    if isinstance(literal, Concept):
        return literal.name
    if literal.is_own:
        return " | ".join(token_literal(s) for s in literal.spellings)
    return token_literal(*literal.spellings, test=literal.place.name)


def in_words(claim: Sequence[Term]) -> str:
    """A claim for people: what the token is, then where it stands, then what it is not."""
    said, joined = _phrase(claim[0].literal), False
    placed = is_place(said)
    for term in claim[1:]:
        phrase = _phrase(term.literal)
        if term.join == OR:
            said, joined = (f"{said}, or {phrase}" if "," in said else f"{said} or {phrase}"), True
        elif term.join == AND_NOT:
            said = f"{said}, {'not' if is_place(phrase) else 'other than'} {phrase}"
        elif is_place(said) and not is_place(phrase):  # what the token is goes first
            said = f"{phrase}, {said}" if joined else f"{phrase} {said}"
        else:
            said = f"{said} {phrase}" if is_place(phrase) and not (placed or joined) else f"{said}, {phrase}"
        placed = placed or is_place(phrase)
    return said


def _phrase(literal: Concept | TokensAt) -> str:
    if isinstance(literal, Concept):
        return literal.words
    return literal.place.words.format(tokens_in_words(literal.spellings))


def is_place(phrase: str) -> bool:
    """Whether a phrase says where a token stands, and not what it is."""
    return phrase.partition(" ")[0] in _PLACES
