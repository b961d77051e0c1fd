"""What Python's own ``tokenize`` and ``ast`` say of a text, in byte offsets.

A text counts as Python when ``ast.parse`` takes it. An f-string is one STRING token and its inside is not walked,
whatever the version of Python, because versions before 3.12 misplace what stands in one; ``_literals`` looks inside.
"""

from __future__ import annotations

import ast
import gc
import io
import keyword
import token as token_kinds
import tokenize
import warnings
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

import numpy as np
from jaxtyping import Int

N = TypeVar("N", bound=ast.AST)
M = TypeVar("M", bound=ast.AST)
K = TypeVar("K", bound=ast.AST)

# MemoryError is the parser's own "too deeply nested", not the machine's.
_NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError)
_STRING_STARTS = {getattr(token_kinds, name, None) for name in ("FSTRING_START", "TSTRING_START")} - {None}
_STRING_ENDS = {getattr(token_kinds, name, None) for name in ("FSTRING_END", "TSTRING_END")} - {None}
_OPAQUE = tuple(t for t in (ast.JoinedStr, getattr(ast, "TemplateStr", None)) if t is not None)
_CONTEXTS = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)

KEYWORDS = frozenset(keyword.kwlist)
CLOSER = {")": "(", "]": "[", "}": "{"}


@dataclass
class Python:
    """Tokens (parallel lists; ``starts`` and ``ends`` in bytes) and syntax-tree nodes of one document."""

    data: bytes
    tree: ast.Module
    kinds: list[int]
    strings: list[str]
    starts: Int[np.ndarray, " n"]
    ends: Int[np.ndarray, " n"]
    line_starts: list[int]  # byte offset of line 1, 2, … at index 1, 2, …
    by_string: dict[str, list[int]]  # operators and keywords: where they are among the tokens
    owner: list[int]  # index of the innermost bracket token that is open at each token, or -1
    depth: list[int]  # how many brackets are open at each token
    bracket: dict[int, str]  # opening bracket token → call, parameters, bases, group, subscript, list, dict or set
    _nodes: dict[type[ast.AST], list[ast.AST]] = field(default_factory=dict)

    @overload
    def nodes(self, one: type[N], /) -> list[N]: ...
    @overload
    def nodes(self, one: type[N], two: type[M], /) -> list[N | M]: ...
    @overload
    def nodes(self, one: type[N], two: type[M], three: type[K], /) -> list[N | M | K]: ...
    @overload
    def nodes(self, *types: type[N]) -> list[N]: ...
    def nodes(self, *types: Any) -> Any:
        """The nodes of these exact types, type after type, in no particular order."""
        return [node for one in types for node in self._nodes.get(one, [])]

    def span(
        self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias | ast.excepthandler
    ) -> tuple[int, int]:
        """The bytes that a node covers."""
        first, last = node.lineno, node.end_lineno
        assert last is not None and node.end_col_offset is not None  # the parser always sets them
        return self.line_starts[first] + node.col_offset, self.line_starts[last] + node.end_col_offset

    def start(
        self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias | ast.excepthandler | ast.pattern
    ) -> int:
        """The first byte of a node."""
        return self.line_starts[node.lineno] + node.col_offset

    def header_end(self, start: int, body: int) -> int:
        """The byte after the colon of the header that begins at ``start``, and whose block has ``body`` in it."""
        colons = self.by_string[":"]
        last = bisect_left(colons, body, key=self.starts.__getitem__) - 1
        while self.depth[colons[last]]:  # of a lambda, say, in brackets before the body's first statement
            last -= 1
        return max(start, int(self.ends[colons[last]]))

    def keyword_after(self, keyword: str, start: int) -> int:
        """The first token that is this keyword at or after the byte ``start``."""
        places = self.by_string[keyword]
        return places[bisect_left(places, start, key=self.starts.__getitem__)]

    def spans_of(self, tokens: list[int]) -> Int[np.ndarray, " n"]:
        """The byte spans of tokens, flat."""
        chosen = np.array(tokens, dtype=np.int64)
        return np.stack([self.starts[chosen], self.ends[chosen]], axis=1).ravel()


def read_python(text: str, data: bytes) -> Python | None:
    """Parse a text; None when it is no Python."""
    base = len("\ufeff".encode()) if text.startswith("\ufeff") else 0
    source = text.removeprefix("\ufeff")
    if "\r" in source and "\r" in source.replace("\r\n", ""):
        return None  # ast counts a lone carriage return as a line, tokenize does not
    collecting = gc.isenabled()
    gc.disable()  # a tree is a million small objects without cycles: collecting doubles the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(source)
        kinds, strings, spots = _tokens(source)
    except _NOT_PYTHON:
        return None
    finally:
        if collecting:
            gc.enable()
    starts, ends = _byte_offsets(source, spots, base)
    newlines = np.flatnonzero(np.frombuffer(data, dtype=np.uint8)[base:] == 10) + base + 1
    line_starts = [0, base, *newlines.tolist()]
    owner, depth, bracket = _brackets(kinds, strings)
    index, nodes = _index(kinds, strings), _walk(tree)
    return Python(data, tree, kinds, strings, starts, ends, line_starts, index, owner, depth, bracket, nodes)


def _tokens(source: str) -> tuple[list[int], list[str], list[int]]:
    """Kinds and strings of tokens, and their places: start row, start column, end row, end column, flat."""
    kinds: list[int] = []
    strings: list[str] = []
    spots: list[int] = []
    inside = 0  # f-strings open (Python ≥ 3.12, where they come in pieces)
    opened = (0, 0)
    for kind, string, start, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind in _STRING_STARTS:
            opened = opened if inside else start
            inside += 1
            continue
        if kind in _STRING_ENDS:
            inside -= 1
            kind, start = token_kinds.STRING, opened
        if inside:
            continue
        kinds.append(kind)
        strings.append(string)
        spots += (*start, *end)
    return kinds, strings, spots


def _byte_offsets(source: str, spots: list[int], base: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Rows and columns (in characters) to byte offsets."""
    places = np.array(spots, dtype=np.int64).reshape(-1, 2)
    points = np.frombuffer(source.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    line_starts = np.concatenate([[0, 0], np.flatnonzero(points == 10) + 1, [len(points)]])
    characters = np.minimum(line_starts[np.minimum(places[:, 0], len(line_starts) - 1)] + places[:, 1], len(points))
    widths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    offsets = np.concatenate([[0], np.cumsum(widths)])[characters] + base
    return offsets[0::2], offsets[1::2]


def _index(kinds: list[int], strings: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for i, (kind, string) in enumerate(zip(kinds, strings, strict=True)):
        if kind == token_kinds.OP or (kind == token_kinds.NAME and string in KEYWORDS):
            found[string].append(i)
    return dict(found)


def _walk(tree: ast.Module) -> dict[type[ast.AST], list[ast.AST]]:
    """Every node under ``tree`` by its exact type, f-strings' insides and the fieldless nodes left out."""
    found: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        found[type(node)].append(node)
        if isinstance(node, _OPAQUE):
            continue
        for name in node._fields:
            value = getattr(node, name, None)
            if value.__class__ is list:
                stack += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, _CONTEXTS):
                stack.append(value)
    return dict(found)


def _brackets(kinds: list[int], strings: list[str]) -> tuple[list[int], list[int], dict[int, str]]:
    """Each token's innermost open bracket and depth (a bracket counts as outside itself), and each bracket's use."""
    owner: list[int] = []
    depth: list[int] = []
    bracket: dict[int, str] = {}
    stack: list[int] = []
    before: list[int] = []  # the last two significant tokens
    for i, (kind, string) in enumerate(zip(kinds, strings, strict=True)):
        is_op = kind == token_kinds.OP
        if is_op and string in CLOSER and stack:
            stack.pop()
        owner.append(stack[-1] if stack else -1)
        depth.append(len(stack))
        if is_op and string in "([{":
            bracket[i] = _use(string, [(kinds[j], strings[j]) for j in before])
            stack.append(i)
        elif is_op and stack and bracket[stack[-1]] == "set" and _of_dict(string, strings[before[-1]]):
            bracket[stack[-1]] = "dict"
        if kind not in (token_kinds.NL, token_kinds.COMMENT):
            before = [*before[-1:], i]
    for i, use in bracket.items():
        if use == "set" and i + 1 < len(strings) and strings[i + 1] == "}":
            bracket[i] = "dict"
    return owner, depth, bracket


def _of_dict(string: str, before: str) -> bool:
    """Whether an operator directly in braces makes them a dictionary's: a colon, or two stars that are no power."""
    return string == ":" or (string == "**" and before in ("{", ","))


def _use(string: str, before: list[tuple[int, str]]) -> str:
    """What an opening bracket is for, from the two tokens before it. A brace is a set until it holds a colon."""
    if string == "{":
        return "set"
    kind, last = before[-1] if before else (token_kinds.NEWLINE, "")
    continues = (
        (kind == token_kinds.NAME and last not in KEYWORDS) or kind == token_kinds.STRING or last in (")", "]", "}")
    )
    if string == "[":
        return "subscript" if continues else "list"
    if len(before) == 2 and kind == token_kinds.NAME and before[0][1] in ("def", "class"):
        return "parameters" if before[0][1] == "def" else "bases"
    return "call" if continues else "group"
