"""Calls of Python: what is called, with what."""

from __future__ import annotations

import ast
import builtins

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "calls"

WORDS = {
    "called_name": "in the name of what is called",
    "called_function": "in the name of a called function",
    "called_method": "in the name of a called method",
    "called_builtin": "in the name of a called built-in",
    "called_class": "in the name of a class being instantiated",
    "in_call": "in the arguments of a call",
    "in_nested_call": "in the arguments of a call within a call",
    "in_call_of_many": "in a call of four or more arguments",
    "in_multiline_call": "in a call over several lines",
    "first_argument": "in the first argument of a call",
    "second_argument": "in the second argument of a call",
    "later_argument": "in a third or later argument of a call",
    "only_argument": "in the only argument of a call",
    "last_argument": "in the last argument of a call",
    "name_argument": "in a name passed as an argument",
    "string_argument": "in a string passed as an argument",
    "number_argument": "in a number passed as an argument",
    "keyword_name": "in the name of a keyword argument",
    "keyword_value": "in the value of a keyword argument",
    "same_name_keyword": "in a keyword argument that repeats its name",
    "boolean_keyword": "in a keyword argument that is True, False or None",
    "first_keyword_name": "in the name of the first keyword argument",
    "starred_argument": "in an unpacked argument",
    "in_super_call": "in a call of super",
    "in_isinstance_call": "in a call of isinstance or issubclass",
    "in_print_call": "in a call of print",
    "in_assertion_call": "in a call of an assertion method",
    "in_format_call": "in the arguments of .format",
    "in_constructor_arguments": "in the arguments of a class being instantiated",
    "in_call_statement": "in a call that is a statement",
    "in_chained_call": "in a method call on the result of a call",
    "call_receiver": "in the object whose method is called",
}

_BUILTINS = frozenset(name for name in dir(builtins) if name[0].islower())
_CALLS: dict[str, frozenset[str]] = {
    "in_super_call": frozenset({"super"}),
    "in_isinstance_call": frozenset({"isinstance", "issubclass"}),
    "in_print_call": frozenset({"print"}),
    "in_format_call": frozenset({"format"}),
}


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    for call in python.nodes(ast.Call):
        span = python.span(call)
        target = python.span(call.func)
        name = _target(call.func)
        _called(python, call, name, target, spans)
        arguments = (target[1], span[1])
        _kinds(call, name, arguments, document.data, spans)
        _positional(python, call, spans)
        _keywords(python, call, spans)
    for statement in python.nodes(ast.Expr):
        if isinstance(statement.value, ast.Call):
            spans.add("in_call_statement", python.span(statement))


def _target(node: ast.expr) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _called(python: Python, call: ast.Call, name: str, target: tuple[int, int], spans: Spans) -> None:
    if not name:
        return
    span = (target[1] - len(name.encode()), target[1])
    spans.add("called_name", span)
    method = isinstance(call.func, ast.Attribute)
    spans.add("called_method" if method else "called_function", span)
    if isinstance(call.func, ast.Attribute):
        spans.add("call_receiver", python.span(call.func.value))
        if isinstance(call.func.value, ast.Call):
            spans.add("in_chained_call", (python.span(call.func.value)[1], python.span(call)[1]))
    if not method and name in _BUILTINS:
        spans.add("called_builtin", span)
    if name.lstrip("_")[:1].isupper():
        spans.add("called_class", span)


def _kinds(call: ast.Call, name: str, arguments: tuple[int, int], data: bytes, spans: Spans) -> None:
    spans.add("in_call", arguments)
    n = len(call.args) + len(call.keywords)
    holds = {
        "in_call_of_many": n >= 4,
        "in_multiline_call": data.find(b"\n", *arguments) >= 0,
        "in_assertion_call": name.startswith("assert"),
        "in_constructor_arguments": name.lstrip("_")[:1].isupper(),
        **{concept: name in members for concept, members in _CALLS.items()},
    }
    for concept, true in holds.items():
        if true:
            spans.add(concept, arguments)


def _positional(python: Python, call: ast.Call, spans: Spans) -> None:
    names = ("first_argument", "second_argument", "later_argument")
    parts: list[ast.expr] = [*call.args, *(k.value for k in call.keywords)]
    for number, argument in enumerate(call.args):
        span = python.span(argument)
        spans.add(names[min(number, 2)], span)
        if isinstance(argument, ast.Name):
            spans.add("name_argument", span)
        elif isinstance(argument, ast.Starred):
            spans.add("starred_argument", span)
        elif isinstance(argument, ast.Constant):
            if isinstance(argument.value, str):
                spans.add("string_argument", span)
            elif isinstance(argument.value, int | float) and not isinstance(argument.value, bool):
                spans.add("number_argument", span)
    for part in parts:
        if isinstance(part, ast.Call):
            spans.add("in_nested_call", (python.span(part.func)[1], python.span(part)[1]))
    if parts:
        spans.add("last_argument", python.span(parts[-1]))
    if len(parts) == 1:
        spans.add("only_argument", python.span(parts[0]))


def _keywords(python: Python, call: ast.Call, spans: Spans) -> None:
    for number, keyword in enumerate(call.keywords):
        if keyword.arg is None:
            spans.add("starred_argument", python.span(keyword))
            continue
        start, end = python.span(keyword)
        name = (start, start + len(keyword.arg.encode()))
        spans.add("keyword_name", name)
        spans.add("keyword_value", python.span(keyword.value))
        if number == 0:
            spans.add("first_keyword_name", name)
        if keyword.arg == _target(keyword.value):
            spans.add("same_name_keyword", (start, end))
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool | None):
            spans.add("boolean_keyword", (start, end))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
