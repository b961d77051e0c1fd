"""Depth in Python: brackets, blocks, functions; and whether the text is Python at all."""

from __future__ import annotations

import ast
import token as kinds
from bisect import bisect_left
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import CLOSER, Python

FAMILY = "nesting"

WORDS = {
    "bracket_depth_0": "in code outside brackets",
    "bracket_depth_1": "in code within one bracket",
    "bracket_depth_2": "in code within two brackets",
    "bracket_depth_3_or_more": "in code within three brackets or more",
    "in_parentheses": "in code whose innermost bracket is a parenthesis",
    "in_square_brackets": "in code whose innermost bracket is square",
    "in_braces": "in code whose innermost bracket is a brace",
    "in_group": "in a tuple or group in parentheses",
    "block_depth_0": "in code at the left margin",
    "block_depth_1": "in code in one block",
    "block_depth_2": "in code in two blocks",
    "block_depth_3": "in code in three blocks",
    "block_depth_4_or_more": "in code in four blocks or more",
    "bracket_first": "first within a bracket",
    "bracket_last": "last within a bracket",
    "bracket_first_on_new_line": "first within a bracket, on a new line",
    "closing_on_new_line": "a closing bracket first on its line",
    "in_class": "in a class",
}

_BLOCKS = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.FunctionDef,
    ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.match_case,
)  # fmt: skip


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    _bracket_depth(python, spans)
    _bracket_edges(python, document.data, spans)
    _block_depth(python, len(document.data), spans)
    for cls in python.nodes(ast.ClassDef):
        spans.add("in_class", python.span(cls))


def _bracket_depth(python: Python, spans: Spans) -> None:
    """Every stretch between two brackets has one depth: paint stretches, not tokens."""
    inner = {"(": "in_parentheses", "[": "in_square_brackets", "{": "in_braces"}
    start, stack = 0, [""]
    brackets = sorted(i for string in "()[]{}" for i in python.by_string.get(string, []))
    end_of_code = int(python.ends[-1]) if len(python.ends) else 0
    for i in [*brackets, -1]:
        # A bracket belongs to the depth outside it.
        closes = i >= 0 and python.strings[i] in CLOSER
        stop = end_of_code if i < 0 else int(python.starts[i] if closes else python.ends[i])
        depth = len(stack) - 1
        spans[f"bracket_depth_{depth}" if depth < 3 else "bracket_depth_3_or_more"] += (start, stop)
        if depth:
            spans[inner[stack[-1][0]]] += (start, stop)
            if stack[-1] == "(group":
                spans["in_group"] += (start, stop)
        start = stop
        if closes and depth:
            stack.pop()
        elif i >= 0 and not closes:
            stack.append(python.strings[i] + (python.bracket[i] if python.bracket[i] == "group" else ""))


def _bracket_edges(python: Python, data: bytes, spans: Spans) -> None:
    for string in "([{":
        for i in python.by_string.get(string, []):
            end = int(python.ends[i])
            line_break = data[end : end + 1] in (b"\n", b"\r")
            following = end
            while following < len(data) and data[following] in b" \t\r\n":
                following += 1
            if data[following : following + 1] not in (b")", b"]", b"}"):
                spans["bracket_first_on_new_line" if line_break else "bracket_first"] += (following, following + 1)
    for string in CLOSER:
        for i in python.by_string.get(string, []):
            start = int(python.starts[i])
            line = data.rfind(b"\n", 0, start) + 1
            if not data[line:start].strip():
                spans["closing_on_new_line"] += (start, start + 1)
            elif python.strings[i - 1] not in ("(", "[", "{"):
                spans["bracket_last"] += (int(python.starts[i - 1]), int(python.ends[i - 1]))


def _block_depth(python: Python, n_bytes: int, spans: Spans) -> None:
    """Count the blocks open at every byte: +1 where a body begins, -1 where it ends."""
    change = np.zeros(n_bytes + 2, dtype=np.int32)
    for node in python.nodes(*_BLOCKS):
        for name in ("body", "orelse", "finalbody"):
            body: list[ast.stmt] = getattr(node, name, [])
            if body and not (name == "orelse" and _is_elif(node, body[0])):
                change[python.start(body[0])] += 1
                change[python.span(body[-1])[1]] -= 1
    indents = [i for i, kind in enumerate(python.kinds) if kind == kinds.INDENT]
    for match in python.nodes(ast.Match):  # its cases stand in a block, and have no places of their own
        header = python.header_end(python.start(match), python.start(match.cases[0].pattern))
        change[python.ends[indents[bisect_left(indents, header, key=python.starts.__getitem__)]]] += 1
        change[python.span(match)[1]] -= 1
    depth = np.minimum(np.cumsum(change)[: n_bytes + 1], 4)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(depth)) + 1, [n_bytes]]).tolist()
    for first, last in pairwise(edges):
        here = int(depth[first])
        spans[f"block_depth_{here}" if here < 4 else "block_depth_4_or_more"] += (first, last)


def _is_elif(node: ast.AST, first: ast.stmt) -> bool:
    """Whether what stands first in an ``else`` is its ``elif``, which opens no block of its own."""
    return isinstance(node, ast.If) and isinstance(first, ast.If) and first.col_offset == node.col_offset


def _is_python(document: Analysed) -> Bool[np.ndarray, " n_tokens"]:
    return np.full(len(document), document.python is not None)


def concepts() -> list[Concept]:
    """The family's concepts."""
    return [
        *painted_python(FAMILY, WORDS, _collect),
        Concept("python_text", "in a text that is Python", FAMILY, _is_python),
    ]
