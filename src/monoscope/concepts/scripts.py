"""Unicode scripts, by block.

A token belongs to a script when any byte that it covers belongs to a code point of the script: byte-level tokens often
hold only part of a code point, and the document's own bytes say which.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept

FAMILY = "scripts"

# Inclusive ranges of code points: the blocks of The Unicode Standard that hold each script's letters.
BLOCKS: dict[str, tuple[str, list[tuple[int, int]]]] = {
    "accented_latin": ("Latin letters beyond ASCII", [(0xC0, 0x24F), (0x1E00, 0x1EFF)]),
    "phonetic": ("phonetic letters", [(0x250, 0x2FF), (0x1D00, 0x1DBF)]),
    "greek": ("Greek", [(0x370, 0x3FF), (0x1F00, 0x1FFF)]),
    "cyrillic": ("Cyrillic", [(0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)]),
    "armenian": ("Armenian", [(0x530, 0x58F)]),
    "hebrew": ("Hebrew", [(0x590, 0x5FF), (0xFB1D, 0xFB4F)]),
    "arabic": ("Arabic", [(0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)]),
    "syriac": ("Syriac", [(0x700, 0x74F), (0x860, 0x86F)]),
    "thaana": ("Thaana", [(0x780, 0x7BF)]),
    "devanagari": ("Devanagari", [(0x900, 0x97F), (0xA8E0, 0xA8FF)]),
    "bengali": ("Bengali", [(0x980, 0x9FF)]),
    "gurmukhi": ("Gurmukhi", [(0xA00, 0xA7F)]),
    "gujarati": ("Gujarati", [(0xA80, 0xAFF)]),
    "oriya": ("Oriya", [(0xB00, 0xB7F)]),
    "tamil": ("Tamil", [(0xB80, 0xBFF)]),
    "telugu": ("Telugu", [(0xC00, 0xC7F)]),
    "kannada": ("Kannada", [(0xC80, 0xCFF)]),
    "malayalam": ("Malayalam", [(0xD00, 0xD7F)]),
    "sinhala": ("Sinhala", [(0xD80, 0xDFF)]),
    "thai": ("Thai", [(0xE00, 0xE7F)]),
    "lao": ("Lao", [(0xE80, 0xEFF)]),
    "tibetan": ("Tibetan", [(0xF00, 0xFFF)]),
    "myanmar": ("Myanmar", [(0x1000, 0x109F)]),
    "georgian": ("Georgian", [(0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F)]),
    "hangul": ("Hangul", [(0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)]),
    "ethiopic": ("Ethiopic", [(0x1200, 0x139F), (0x2D80, 0x2DDF)]),
    "cherokee": ("Cherokee", [(0x13A0, 0x13FF), (0xAB70, 0xABBF)]),
    "canadian_aboriginal": ("Canadian Aboriginal syllabics", [(0x1400, 0x167F), (0x18B0, 0x18FF)]),
    "runic": ("Runic", [(0x16A0, 0x16FF)]),
    "khmer": ("Khmer", [(0x1780, 0x17FF)]),
    "mongolian": ("Mongolian", [(0x1800, 0x18AF)]),
    "kana": ("Japanese kana", [(0x3040, 0x30FF), (0x31F0, 0x31FF)]),
    "cjk": (
        "Chinese characters",
        [(0x2E80, 0x2FDF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3134F)],
    ),
    "cjk_punctuation": ("East Asian punctuation", [(0x3000, 0x303F), (0xFF00, 0xFFEF)]),
    "general_punctuation": ("typographic punctuation", [(0x2000, 0x206F)]),
    "latin_symbols": ("Latin-1 symbols", [(0x80, 0xBF)]),
    "mathematics": ("mathematical symbols", [(0x2200, 0x22FF), (0x27C0, 0x27EF), (0x2980, 0x2AFF), (0x1D400, 0x1D7FF)]),
    "arrows": ("arrows", [(0x2190, 0x21FF), (0x27F0, 0x27FF), (0x2900, 0x297F)]),
    "box_drawing": ("box-drawing characters", [(0x2500, 0x259F)]),
    "emoji": ("emoji and pictographs", [(0x2600, 0x27BF), (0x1F000, 0x1FAFF)]),
}

_EDGES, _SCRIPT = (
    np.array(column)
    for column in zip(
        (-1, 0),
        *sorted(
            edge
            for number, (_, ranges) in enumerate(BLOCKS.values(), start=1)
            for first, last in ranges
            for edge in ((first, number), (last + 1, 0))
        ),
        strict=True,
    )
)


def points(document: Analysed) -> tuple[Int[np.ndarray, " n_bytes"], Bool[np.ndarray, " n_bytes"]]:
    """For every byte, the code point it belongs to, and whether the byte begins it."""
    code = np.frombuffer(document.document.text.encode("utf-32-le"), dtype=np.uint32)
    begins = (document.byte_values & 0xC0) != 0x80
    return code[np.cumsum(begins) - 1], begins


def _scripts(document: Analysed) -> dict[int, Bool[np.ndarray, " n_tokens"]]:
    """The tokens of each script that occurs in the document, by the script's number."""
    if document.document.text.isascii():
        return {}
    code, _ = document.once(points)
    # At a shared edge, where one block ends and the next begins, the later of the two entries is the block's.
    script = _SCRIPT[np.searchsorted(_EDGES, code, side="right") - 1]
    return {int(s): document.at_any_byte(script == s) for s in np.unique(script) if s > 0}


def _partial(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    """Tokens that begin or end inside a code point."""
    if document.document.text.isascii():
        return document.nothing()
    _, begins = document.once(points)
    edge = np.append(begins, True)
    return ~(edge[document.document.starts] & edge[document.document.ends])


def _completes(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    """Tokens that begin inside a code point and end at its end."""
    if document.document.text.isascii():
        return document.nothing()
    _, begins = document.once(points)
    edge = np.append(begins, True)
    return ~edge[document.document.starts] & edge[document.document.ends]


def _of(number: int) -> Callable[[Analysed], Bool[np.ndarray, " n_tokens"]]:
    def find(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
        found = document.once(_scripts).get(number)
        return document.nothing() if found is None else found

    return find


def concepts() -> list[Concept]:
    """The family's concepts."""
    scripts = [
        Concept(f"script_{name}", f"in {words}", FAMILY, _of(number), own=True)
        for number, (name, (words, _)) in enumerate(BLOCKS.items(), start=1)
    ]
    return [
        *scripts,
        Concept("partial_code_point", "part of a character", FAMILY, _partial),
        Concept("completes_code_point", "the last part of a character", FAMILY, _completes),
    ]
