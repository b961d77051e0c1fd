"""What stands just before and just after a token, in any text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept

FAMILY = "neighbours"

_AFTER: dict[str, tuple[str, bytes]] = {
    "dot": ("a dot", b"."),
    "opening_bracket": ("an opening bracket", b"([{"),
    "opening_parenthesis": ("an opening parenthesis", b"("),
    "opening_square_bracket": ("an opening square bracket", b"["),
    "opening_brace": ("an opening brace", b"{"),
    "closing_bracket": ("a closing bracket", b")]}"),
    "comma": ("a comma", b","),
    "colon": ("a colon", b":"),
    "equals": ("an equals sign", b"="),
    "quote": ("a quotation mark", b"'\""),
    "backtick": ("a backtick", b"`"),
    "hyphen": ("a hyphen", b"-"),
    "slash": ("a slash", b"/"),
    "backslash": ("a backslash", b"\\"),
    "underscore": ("an underscore", b"_"),
    "hash": ("a hash sign", b"#"),
    "at_sign": ("an at sign", b"@"),
    "star": ("a star", b"*"),
    "angle_bracket": ("an angle bracket", b"<>"),
    "percent": ("a percent sign", b"%"),
    "digit": ("a digit", b"0123456789"),
    "capital": ("a capital letter", bytes(range(65, 91))),
    "letter": ("a letter", bytes(range(65, 91)) + bytes(range(97, 123))),
}
_BEFORE = {
    key: _AFTER[key]
    for key in (
        "dot", "opening_parenthesis", "opening_square_bracket", "closing_bracket", "comma", "colon", "equals", "quote",
        "underscore", "digit", "capital", "letter", "hyphen", "slash", "star",
    )
}  # fmt: skip


def _member(alphabet: bytes) -> Bool[np.ndarray, " 256"]:
    table = np.zeros(256, dtype=bool)
    table[np.frombuffer(alphabet, dtype=np.uint8)] = True
    return table


def previous_byte(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The byte just before each token's first byte of ink (0 at the start): a space where one stands there."""
    return np.concatenate([[0], document.byte_values])[document.anchors]


def previous_ink(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The last byte before each token that is not white space (0 where there is none)."""
    last = np.maximum.accumulate(np.where(document.is_space, -1, np.arange(len(document.data))))
    return np.append(document.byte_values, np.uint8(0))[np.concatenate([[-1], last])[document.document.starts]]


def next_byte(document: Analysed) -> Int[np.ndarray, " n_tokens"]:
    """The byte just after each token (0 at the end of the text)."""
    return np.append(document.byte_values, np.uint8(0))[document.document.ends]


def _is_word(document: Analysed) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Whether each token's first byte, its last byte, and its anchor are of a word (letter, digit, beyond ASCII)."""
    word = _member(bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123)) + bytes(range(128, 256)))
    data = np.append(document.byte_values, np.uint8(0))
    spans = document.document
    last = np.maximum(spans.ends - 1, spans.starts)
    return word[data[spans.starts]], word[data[last]], word[data[document.anchors]]


def _continues(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    word = _member(bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123)) + bytes(range(128, 256)))
    return document.once(_is_word)[0] & word[np.concatenate([[0], document.byte_values])[document.document.starts]]


def _continued(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    word = _member(bytes(range(48, 58)) + bytes(range(65, 91)) + bytes(range(97, 123)) + bytes(range(128, 256)))
    return document.once(_is_word)[1] & word[document.once(next_byte)]


def _seen_before(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    return _repeated(document.spellings)


def _pair_seen_before(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    numbers = document.spellings.astype(np.int64)
    return _repeated(np.concatenate([[-1], numbers[:-1]])[: len(numbers)] * (len(document.lexicon) + 1) + numbers)


def _repeated(keys: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    repeated = np.ones(len(keys), dtype=bool)
    repeated[np.unique(keys, return_index=True)[1]] = False
    return repeated


def _in(
    values: Callable[[Analysed], Int[np.ndarray, " n"]], alphabet: bytes
) -> Callable[[Analysed], Bool[np.ndarray, " n"]]:
    table = _member(alphabet)
    return lambda document: table[document.once(values)]


def concepts() -> list[Concept]:
    """The family's concepts."""
    after = [
        Concept(f"after_{key}", f"right after {words}", FAMILY, _in(previous_byte, alphabet))
        for key, (words, alphabet) in _AFTER.items()
    ]
    loosely = [
        Concept(f"after_{key}_and_space", f"after {words}, space aside", FAMILY, _in(previous_ink, _AFTER[key][1]))
        for key, (words, _) in _AFTER.items()
        if key in ("comma", "colon", "equals", "opening_bracket", "closing_bracket", "quote", "dot", "hash", "letter")
    ]
    before = [
        Concept(f"before_{key}", f"right before {words}", FAMILY, _in(next_byte, alphabet))
        for key, (words, alphabet) in _BEFORE.items()
    ]
    return [
        *after,
        *loosely,
        *before,
        Concept("before_newline", "right before a line break", FAMILY, _in(next_byte, b"\n\r")),
        Concept("before_space", "right before a space", FAMILY, _in(next_byte, b" ")),
        Concept("after_space", "after a space", FAMILY, _in(previous_byte, b" ")),
        Concept("continues_word", "continuing a word", FAMILY, _continues),
        Concept("continued_word", "in a word that goes on", FAMILY, _continued),
        Concept("word_start", "at the start of a word", FAMILY, lambda d: d.once(_is_word)[2] & ~_continues(d)),
        Concept("whole_word", "a whole word", FAMILY, lambda d: d.once(_is_word)[2] & ~_continues(d) & ~_continued(d)),
        Concept("word_end", "at the end of a word begun before", FAMILY, lambda d: _continues(d) & ~_continued(d)),
        Concept("token_seen_before", "seen earlier in the text", FAMILY, _seen_before),
        Concept("pair_seen_before", "seen earlier after the same token", FAMILY, _pair_seen_before),
    ]
