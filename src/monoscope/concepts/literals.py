"""Strings, docstrings, f-strings and comments of Python."""

from __future__ import annotations

import ast
import re
import token as kinds

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "literals"

WORDS = {
    "in_docstring": "inside a docstring",
    "in_module_docstring": "inside the docstring of a module",
    "in_class_docstring": "inside the docstring of a class",
    "in_function_docstring": "inside the docstring of a function",
    "in_docstring_summary": "in the first line of a docstring",
    "in_docstring_heading": "in a section heading of a docstring",
    "in_docstring_parameter": "in a name documented in a docstring",
    "in_docstring_type": "in a type documented in a docstring",
    "in_docstring_after_summary": "in a docstring after its first line",
    "in_docstring_list": "in the indented part of a docstring",
    "docstring_first_word": "the first word of a docstring",
    "in_comment": "inside a comment",
    "in_whole_line_comment": "inside a comment on its own line",
    "in_trailing_comment": "inside a comment after code",
    "comment_first_word": "the first word of a comment",
    "in_comment_paragraph": "inside a comment that continues the line before",
    "in_commented_code": "in a comment that looks like code",
    "in_string": "inside a string that is no docstring",
    "in_short_string": "inside a string of one word",
    "in_sentence_string": "inside a string of four words or more",
    "in_triple_string": "inside a triple-quoted string that is no docstring",
    "in_bytes": "inside a bytes literal",
    "in_raw_string": "inside a raw string",
    "in_fstring": "inside an f-string",
    "in_fstring_text": "in the literal part of an f-string",
    "in_fstring_field": "in a replacement field of an f-string",
    "in_fstring_format": "in the format of a replacement field",
    "fstring_brace": "a brace of a replacement field",
    "string_prefix": "a string prefix",
    "string_opening_quote": "the opening quote of a string",
    "string_closing_quote": "the closing quote of a string",
    "string_first_word": "the first word of a string",
    "string_last_word": "the last word of a string",
    "in_adjacent_strings": "in one of several adjacent strings",
    "in_string_key": "in a string used as a key",
    "in_error_message": "in the message of an exception",
    "in_logged_message": "in a string that is printed or logged",
    "in_single_quotes": "inside a single-quoted string",
    "in_double_quotes": "inside a double-quoted string",
}

_QUOTES = re.compile(rb"([A-Za-z]*)('''|\"\"\"|'|\")")
_FIRST_WORD = re.compile(rb"\W*(\w+)")
_LAST_WORD = re.compile(rb"(\w+)\W*\Z")
_HEADINGS = (
    "Args Arguments Parameters Returns? Raises Yields? Examples? Notes? Attributes References Warnings? Methods Shape"
)
_HEADING = re.compile(
    rb"^[ \t]*((?:" + _HEADINGS.replace(" ", "|").encode() + rb"|See Also|Keyword Args)\s*:{0,2})[ \t]*$", re.M
)
_PARAMETER = re.compile(
    rb"^[ \t]+(?!(?:"
    + _HEADINGS.replace(" ", "|").encode()
    + rb")\s*:{0,2}[ \t]*$)(\*{0,2}[A-Za-z_]\w*(?:, \*{0,2}[A-Za-z_]\w*)*)[ \t]?(?:\(([^)\n]*)\))?[ \t]?:(?:[ \t]|$)"
    rb"|^[ \t]*:(?:param|arg|keyword|raises?|type|ivar)(?: \w+)? (\*{0,2}\w+):|^[ \t]+(?:``|`)(\w+)(?:``|`) ",
    re.M,
)
_CODE = re.compile(rb"# ?(?:[\w.]+ = |[\w.]+\(.*\)$|(?:if|for|def|return|import|from|print|with|assert)\b.*[:()=.])")
_PRINTERS = frozenset("print debug info warning warn error exception critical log write fail skip".split())


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    docstrings = _docstrings(python, document.data, spans)
    _strings(python, document.data, docstrings, spans)
    _comments(python, document.data, spans)
    _uses(python, spans)


def _docstrings(python: Python, data: bytes, spans: Spans) -> set[int]:
    """Paint the docstrings; returns their first bytes."""
    firsts = set()
    owners: tuple[tuple[type[ast.AST], str], ...] = (
        (ast.Module, "module"),
        (ast.ClassDef, "class"),
        (ast.FunctionDef, "function"),
        (ast.AsyncFunctionDef, "function"),
    )
    for owner, name in owners:
        for node in python.nodes(owner):
            body: list[ast.stmt] = node.body  # type: ignore[attr-defined]
            if not (body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)):
                continue
            if isinstance(body[0].value.value, str):
                span = python.span(body[0].value)
                firsts.add(span[0])
                spans.add("in_docstring", span)
                spans.add(f"in_{name}_docstring", span)
                _within_docstring(data, span, spans)
    return firsts


def _within_docstring(data: bytes, span: tuple[int, int], spans: Spans) -> None:
    quotes = _QUOTES.match(data, *span)
    start = quotes.end() if quotes else span[0]
    if word := _FIRST_WORD.match(data, start, span[1]):
        spans.add("docstring_first_word", word.span(1))
        start = word.start(1)
    end = data.find(b"\n", start, span[1])
    spans.add("in_docstring_summary", (span[0], end if end >= 0 else span[1]))
    if end < 0:
        return
    spans.add("in_docstring_after_summary", (end, span[1]))
    for match in _HEADING.finditer(data, end, span[1]):
        spans.add("in_docstring_heading", match.span(1))
    for match in _PARAMETER.finditer(data, end, span[1]):
        spans.add("in_docstring_parameter", match.span(next(g for g in (1, 3, 4) if match[g] is not None)))
        if match[2] is not None:
            spans.add("in_docstring_type", match.span(2))
    _indented(data, end, span[1], spans)


def _indented(data: bytes, start: int, end: int, spans: Spans) -> None:
    """Lines of a docstring that are indented deeper than its shallowest."""
    lines = []
    while start < end:
        stop = data.find(b"\n", start + 1, end)
        stop = end if stop < 0 else stop
        line = data[start:stop]
        ink = len(line) - len(line.lstrip())
        if ink < len(line):
            lines.append((ink, start, stop))
        start = stop
    least = min((ink for ink, _, _ in lines), default=0)
    for ink, first, last in lines:
        if ink > least:
            spans.add("in_docstring_list", (first, last))


def _strings(python: Python, data: bytes, docstrings: set[int], spans: Spans) -> None:
    strings = [i for i, kind in enumerate(python.kinds) if kind == kinds.STRING]
    skipped = (kinds.NL, kinds.COMMENT)
    last, last_end = -1, -1
    for i in strings:
        start, end = int(python.starts[i]), int(python.ends[i])
        between = i - 1
        while between > last >= 0 and python.kinds[between] in skipped:
            between -= 1
        if last >= 0 and between == last:
            spans["in_adjacent_strings"] += (int(python.starts[last]), last_end, start, end)
        last, last_end = i, end
        _one_string(data, start, end, start in docstrings, spans)


def _one_string(data: bytes, start: int, end: int, is_docstring: bool, spans: Spans) -> None:
    quotes = _QUOTES.match(data, start, end)
    if quotes is None:
        return
    prefix, quote = quotes[1].lower(), quotes[2]
    inner, outer = quotes.end(), end - len(quote)
    spans["string_prefix"] += (start, start + len(prefix))
    spans["string_opening_quote"] += (start + len(prefix), inner)
    spans["string_closing_quote"] += (outer, end)
    if is_docstring:
        return
    words = len(data[inner:outer].split())
    holds = {
        "in_string": True,
        "in_triple_string": len(quote) == 3,
        "in_bytes": b"b" in prefix,
        "in_raw_string": b"r" in prefix,
        "in_single_quotes": quote == b"'",
        "in_double_quotes": quote == b'"',
        "in_short_string": words == 1,
        "in_sentence_string": words >= 4,
    }
    for name, true in holds.items():
        if true:
            spans[name] += (start, end)
    for name, pattern in (("string_first_word", _FIRST_WORD), ("string_last_word", _LAST_WORD)):
        # The last word is looked for in the last 80 bytes: a search from the start would be quadratic.
        place = inner if pattern is _FIRST_WORD else max(inner, outer - 80)
        found = pattern.match(data, place, outer) if pattern is _FIRST_WORD else pattern.search(data, place, outer)
        if found:
            spans[name] += found.span(1)
    if b"f" in prefix:
        spans["in_fstring"] += (start, end)
        _fields(data, inner, outer, spans, raw=b"r" in prefix)


def _fields(data: bytes, start: int, end: int, spans: Spans, *, raw: bool) -> None:
    """Split the inside of an f-string into text and fields (PEP 498); a nested field is part of its outer one."""
    place = text = start
    while place < end:
        byte = data[place : place + 1]
        if byte == b"\\" and not raw:  # before a brace it escapes nothing; \\ and \N{…} are one character each
            named = data.find(b"}", place, end) + 1 if data.startswith(b"\\N{", place) else 0
            place = named or place + (2 if data.startswith(b"\\\\", place) else 1)
            continue
        if byte not in (b"{", b"}") or data[place + 1 : place + 2] == byte:
            place += 2 if byte in (b"{", b"}") else 1
            continue
        if byte == b"}":
            place += 1
            continue
        spans["in_fstring_text"] += (text, place)
        stop, colon = _field_end(data, place, end)
        spans["in_fstring_field"] += (place, stop)
        spans["fstring_brace"] += (place, place + 1, stop - 1, stop)
        if colon >= 0:
            spans["in_fstring_format"] += (colon, stop - 1)
        place = text = stop
    spans["in_fstring_text"] += (text, end)


def _field_end(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The byte after the brace that closes the field opened at ``start``, and its format's colon (-1 if none)."""
    depth, colon, place = 0, -1, start
    quote = b""
    while place < end:
        byte = data[place : place + 1]
        if quote:
            quote = b"" if byte == quote else quote
        elif byte in (b"'", b'"') and colon < 0:
            quote = byte
        elif byte in (b"{", b"[", b"("):
            depth += 1
        elif byte in (b"}", b"]", b")"):
            depth -= 1
            if depth == 0:
                return place + 1, colon
        elif depth == 1 and colon < 0 and (byte == b":" or (byte == b"!" and data[place + 1 : place + 2] != b"=")):
            colon = place
        place += 1
    return end, colon


def _comments(python: Python, data: bytes, spans: Spans) -> None:
    previous = -1  # end of the last whole-line comment
    for i, kind in enumerate(python.kinds):
        if kind != kinds.COMMENT:
            continue
        start, end = int(python.starts[i]), int(python.ends[i])
        line = data.rfind(b"\n", 0, start) + 1
        spans["in_comment"] += (start, end)
        if data[line:start].strip():
            spans["in_trailing_comment"] += (start, end)
        else:
            spans["in_whole_line_comment"] += (start, end)
            if previous >= 0 and not data[previous:start].strip() and data.count(b"\n", previous, start) == 1:
                spans["in_comment_paragraph"] += (start, end)
            previous = end
        if word := _FIRST_WORD.match(data, start, end):
            spans["comment_first_word"] += word.span(1)
        if _CODE.match(data, start, end):
            spans["in_commented_code"] += (start, end)


def _is_string(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_string(node.left)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _uses(python: Python, spans: Spans) -> None:
    for subscript in python.nodes(ast.Subscript):
        if _is_string(subscript.slice):
            spans.add("in_string_key", python.span(subscript.slice))
    for table in python.nodes(ast.Dict):
        for key in table.keys:
            if key is not None and _is_string(key):
                spans.add("in_string_key", python.span(key))
    for error in python.nodes(ast.Raise):
        if isinstance(error.exc, ast.Call):
            for argument in filter(_is_string, error.exc.args):
                spans.add("in_error_message", python.span(argument))
    for call in python.nodes(ast.Call):
        name = getattr(call.func, "attr", None) or getattr(call.func, "id", "")
        if name in _PRINTERS:
            for argument in filter(_is_string, call.args):
                spans.add("in_logged_message", python.span(argument))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
