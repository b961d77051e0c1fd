"""Prefixes and suffixes of tokens, and of the words of which tokens are parts."""

from __future__ import annotations

import re
from functools import lru_cache

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, matching, painted, spelled

FAMILY = "affixes"
PREFIXES = ("un", "re", "de", "in", "con", "pre", "sub", "get", "set", "is", "test", "to", "from", "max", "num", "non")
SUFFIXES = ("ing", "ed", "er", "or", "s", "ion", "ly", "able", "al", "ent", "ity", "ize", "ure", "ate", "ive", "Error")

_WORD = re.compile(rb"[A-Za-z]+")


@lru_cache(maxsize=1 << 17)
def _affixes(word: bytes) -> tuple[str, ...]:
    """The names of the concepts that hold on a word."""
    endings = [f"in_word_ending_{s}" for s in SUFFIXES if len(word) > len(s) + 1 and word.endswith(s.encode())]
    beginnings = [f"in_word_beginning_{p}" for p in PREFIXES if len(word) > len(p) + 1 and word.startswith(p.encode())]
    return (*endings, *beginnings)


def _collect(document: Analysed) -> Spans:
    spans = Spans({f"in_word_ending_{s}": "" for s in SUFFIXES} | {f"in_word_beginning_{p}": "" for p in PREFIXES})
    for match in _WORD.finditer(document.data):
        for name in _affixes(match[0]):
            spans[name] += match.span()
    return spans


def concepts() -> list[Concept]:
    """The family's concepts."""
    words = {f"in_word_ending_{s}": f"in a word that ends in -{s}" for s in SUFFIXES}
    words |= {f"in_word_beginning_{p}": f"in a word that begins with {p}-" for p in PREFIXES}
    own = [
        spelled(FAMILY, f"ends_{s}", f"a token that ends in -{s}", matching(rb"\s*[A-Za-z]*" + s.encode()))
        for s in SUFFIXES[:8]
    ]
    return painted(FAMILY, words, _collect) + own
