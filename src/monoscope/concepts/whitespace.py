"""White space, lines and indentation, in any text."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, matching, painted, spelled

FAMILY = "whitespace"
DEEPEST = 6

WORDS = {
    **{f"line_indent_{i}": f"on a line indented by {4 * i}" for i in range(DEEPEST)},
    f"line_indent_{DEEPEST}_or_more": f"on a line indented by {4 * DEEPEST} or more",
    "line_indent_irregular": "on a line whose indentation is no multiple of 4",
    "line_indented_deeper": "on a line indented deeper than the line before",
    "line_indented_less": "on a line indented less than the line before",
    "line_indented_equally": "on a line indented like the line before",
    "line_after_blank": "on a line after a blank line",
    "line_before_blank": "on a line before a blank line",
    "first_on_line": "first on its line",
    "first_on_deeper_line": "first on a line indented deeper",
    "first_on_shallower_line": "first on a line indented less",
    "first_after_blank_line": "first after a blank line",
    "last_on_line": "last on its line",
    "second_word_on_line": "second word on its line",
    "long_line": "on a line longer than 79 characters",
    "short_line": "on a line of at most 12 characters",
    "beyond_column_60": "beyond column 60",
    "one_word_line": "on a line of a single word",
    "indentation": "in the indentation of a line",
    "trailing_space": "in trailing white space",
    "spaces_within_line": "in two or more spaces within a line",
    "blank_line": "in a blank line",
    "line_end": "at the end of a line",
    "line_end_before_deeper": "at the end of a line before a deeper one",
    "line_end_before_shallower": "at the end of a line before a shallower one",
    "first_line": "on the first line",
    "first_ten_lines": "on the first ten lines",
}

_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_GAP = re.compile(rb"(?<=\S) {2,}(?=\S)")
_WORDS_OF_LINE = re.compile(rb"\S+")

_OWN: dict[str, tuple[str, bytes]] = {
    "only_whitespace": ("white space alone", rb"\s+"),
    "newline_token": ("a line break alone", rb"\r?\n"),
    "several_newlines": ("two or more line breaks", rb"\s*\n\s*\n\s*"),
    "newline_and_indent": ("a line break and indentation", rb"\s*\n[ \t]+"),
    "spaces_token": ("two or more spaces alone", rb" {2,}"),
    "tab_token": ("holding a tab", rb"[\s\S]*\t[\s\S]*"),
    "token_has_newline": ("holding a line break", rb"[\s\S]*\n[\s\S]*"),
    "ends_with_newline": ("a mark and then a line break", rb"\s*\S+\s*\n\s*"),
}


def lines(document: Analysed) -> list[tuple[int, int, int, int]]:
    """(start, first ink, end of ink, end with line break) of every line."""
    found = []
    for match in _LINE.finditer(document.data):
        line = match[0]
        start, end = match.span()
        found.append((start, end - len(line.lstrip()), start + len(line.rstrip()), end))
    return found


def _place(spans: Spans, start: int, ink: int, last: int, end: int) -> None:
    """What holds by the place within the line alone."""
    spans["indentation"] += (start, ink)
    spans["trailing_space"] += (last, end - 1)
    spans["line_end"] += (end - 1, end)
    if last - start > 79:
        spans["long_line"] += (start, end)
    elif last - ink <= 12:
        spans["short_line"] += (start, end)
    spans["beyond_column_60"] += (min(start + 60, last), last)


def _words(spans: Spans, data: bytes, ink: int, last: int) -> None:
    first = _WORDS_OF_LINE.match(data, ink, last)
    assert first is not None  # the line has ink
    second = _WORDS_OF_LINE.search(data, first.end(), last)
    if second is None:
        spans["one_word_line"] += (ink, last)
    else:
        spans["second_word_on_line"] += second.span()


def _collect(document: Analysed) -> Spans:
    spans, data = Spans(WORDS), document.data
    inked = [line for line in document.once(lines) if line[1] < line[2]]
    for start, ink, last, end in document.once(lines):
        if ink >= last:
            spans["blank_line"] += (start, end)
    before_end, before_depth = 0, 0
    for start, ink, last, end in inked:
        depth = ink - start
        span = (start, end)
        _place(spans, start, ink, last, end)
        _words(spans, data, ink, last)
        name = f"line_indent_{depth // 4}" if depth < 4 * DEEPEST else f"line_indent_{DEEPEST}_or_more"
        spans["line_indent_irregular" if depth % 4 else name] += span
        change = "deeper" if depth > before_depth else "less" if depth < before_depth else "equally"
        spans[f"line_indented_{change}"] += span
        if start > before_end:
            spans["line_after_blank"] += span
        before_end, before_depth = end, depth
    for (_, _, _, end), (following, *_) in pairwise(inked):
        if following > end:
            spans["line_before_blank"] += (max(0, data.rfind(b"\n", 0, end - 1) + 1), end)
    for match in _GAP.finditer(data):
        spans["spaces_within_line"] += match.span()
    _edges(document, spans, inked)
    if inked:
        spans["first_line"] += (0, inked[0][3])
        spans["first_ten_lines"] += (0, inked[:10][-1][3])
    return spans


def _edges(document: Analysed, spans: Spans, inked: list[tuple[int, int, int, int]]) -> None:
    """First and last tokens of lines, as the spans of the tokens themselves."""
    if not inked or not len(document):
        return
    table: Int[np.ndarray, "n 4"] = np.array(inked)
    depth = table[:, 1] - table[:, 0]
    step = np.diff(depth, prepend=0)
    after_blank = np.concatenate([[False], table[1:, 0] > table[:-1, 3]])
    first = _token_at(document, table[:, 1])
    for name, chosen in (
        ("first_on_line", step == step),
        ("first_on_deeper_line", step > 0),
        ("first_on_shallower_line", step < 0),
        ("first_after_blank_line", after_blank),
    ):
        spans[name] += _anchor_spans(document, first[chosen])
    spans["last_on_line"] += _anchor_spans(document, _token_at(document, table[:, 2] - 1))
    breaks = table[:, 3] - 1
    following = np.diff(depth, append=0)
    for name, chosen in (("line_end_before_deeper", following > 0), ("line_end_before_shallower", following < 0)):
        spans[name] += np.stack([breaks[chosen], breaks[chosen] + 1], axis=1).ravel().tolist()


def _token_at(document: Analysed, places: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The token that covers each byte."""
    return np.clip(np.searchsorted(document.document.starts, places, side="right") - 1, 0, None)


def _anchor_spans(document: Analysed, tokens: Int[np.ndarray, " n"]) -> list[int]:
    anchors = document.anchors[tokens]
    return np.stack([anchors, anchors + 1], axis=1).ravel().tolist()


def _first_token(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    return np.arange(len(document)) == 0


def concepts() -> list[Concept]:
    """The family's concepts."""
    own = [spelled(FAMILY, name, words, matching(pattern)) for name, (words, pattern) in _OWN.items()]
    return [
        *own,
        *painted(FAMILY, WORDS, _collect),
        Concept("first_token", "first in the text", FAMILY, _first_token),
        Concept("first_sixteen_tokens", "among the first 16 tokens", FAMILY, lambda d: np.arange(len(d)) < 16),
    ]
