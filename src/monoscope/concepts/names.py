"""Names and attributes of Python: what they stand for."""

from __future__ import annotations

import ast
import builtins
from bisect import bisect_left

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "names"

WORDS = {
    "name_read": "in a name that is read",
    "name_written": "in a name that is assigned",
    "self_name": "self in code",
    "cls_name": "cls in code",
    "parameter_use": "in the use of a parameter",
    "imported_use": "in the use of an imported name",
    "builtin_use": "in the use of a built-in",
    "builtin_type": "in the name of a built-in type",
    "exception_use": "in the name of a built-in exception",
    "local_function_use": "in the use of a function or class of the module",
    "constant_use": "in the use of an UPPER_CASE constant",
    "short_name": "in a one-letter name of code",
    "underscore_name": "the name _",
    "dunder_name": "in a __dunder__ name of code",
    "attribute_name": "in the name of an attribute",
    "self_attribute": "in an attribute of self",
    "self_method": "in a method of self that is called",
    "private_attribute": "in an attribute that begins with an underscore",
    "dunder_attribute": "in a __dunder__ attribute",
    "attribute_written": "in an attribute that is assigned",
    "self_attribute_written": "in an attribute of self that is assigned",
    "module_attribute": "in an attribute of an imported name",
    "class_attribute_use": "in a capitalised attribute",
    "attribute_of_attribute": "in an attribute of an attribute",
    "attribute_of_call": "in an attribute of the result of a call",
    "attribute_of_item": "in an attribute of an item",
    "object_of_attribute": "in the name before an attribute",
    "module_before_attribute": "in an imported name before an attribute",
    "attribute_chain": "in a chain of three or more names",
}

_TYPES = frozenset(n for n in dir(builtins) if isinstance(getattr(builtins, n), type) and n[0].islower())
_EXCEPTIONS = frozenset(
    n
    for n in dir(builtins)
    if isinstance(getattr(builtins, n), type) and issubclass(getattr(builtins, n), BaseException)
)
_FUNCTIONS = frozenset(n for n in dir(builtins) if n[0].islower())


def imported_names(document: Analysed) -> frozenset[str]:
    """The names that imports of the document bind."""
    if document.python is None:
        return frozenset()
    nodes = document.python.nodes(ast.Import, ast.ImportFrom)
    return frozenset((a.asname or a.name).split(".")[0] for node in nodes for a in node.names)


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    imported = document.once(imported_names)
    defined = {s.name for s in python.tree.body if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    names = python.nodes(ast.Name)
    holds: dict[str, list[str]] = {}
    for name in names:
        span = python.span(name)
        spans.add("name_read" if isinstance(name.ctx, ast.Load) else "name_written", span)
        if name.id not in holds:
            holds[name.id] = _kinds(name.id, imported, defined)
        for concept in holds[name.id]:
            spans.add(concept, span)
    _parameter_uses(python, names, spans)
    for attribute in python.nodes(ast.Attribute):
        _attribute(python, attribute, imported, spans)
    for call in python.nodes(ast.Call):
        if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "self":
            spans.add("self_method", _attribute_span(python, call.func))


def _kinds(name: str, imported: frozenset[str], defined: set[str]) -> list[str]:
    holds = {
        "self_name": name == "self",
        "cls_name": name == "cls",
        "imported_use": name in imported,
        "builtin_use": name in _FUNCTIONS,
        "builtin_type": name in _TYPES,
        "exception_use": name in _EXCEPTIONS,
        "local_function_use": name in defined,
        "constant_use": len(name) > 1 and name.isupper(),
        "short_name": len(name) == 1 and name != "_",
        "underscore_name": name == "_",
        "dunder_name": name.startswith("__") and name.endswith("__"),
    }
    return [concept for concept, true in holds.items() if true]


def _parameter_uses(python: Python, names: list[ast.Name], spans: Spans) -> None:
    placed = sorted((python.start(name), name.id) for name in names)
    starts = [start for start, _ in placed]
    for function in python.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda):
        arguments = function.args
        parameters = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        parameters |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
        parameters -= {"self", "cls"}
        body = function.body if isinstance(function.body, ast.expr) else function.body[0]
        first, last = bisect_left(starts, python.start(body)), bisect_left(starts, python.span(function)[1])
        for start, name in placed[first:last]:
            if name in parameters:
                spans.add("parameter_use", (start, start + len(name.encode())))


def _attribute_span(python: Python, node: ast.Attribute) -> tuple[int, int]:
    end = python.span(node)[1]
    return end - len(node.attr.encode()), end


def _attribute(python: Python, node: ast.Attribute, imported: frozenset[str], spans: Spans) -> None:
    span = _attribute_span(python, node)
    owner = node.value
    name = owner.id if isinstance(owner, ast.Name) else ""
    written = not isinstance(node.ctx, ast.Load)
    dunder = node.attr.startswith("__") and node.attr.endswith("__")
    holds = {
        "attribute_name": True,
        "self_attribute": name == "self",
        "private_attribute": node.attr.startswith("_") and not dunder,
        "dunder_attribute": dunder,
        "attribute_written": written,
        "self_attribute_written": written and name == "self",
        "module_attribute": name in imported,
        "class_attribute_use": node.attr[0].isupper(),
        "attribute_of_attribute": isinstance(owner, ast.Attribute),
        "attribute_of_call": isinstance(owner, ast.Call),
        "attribute_of_item": isinstance(owner, ast.Subscript),
    }
    for concept, true in holds.items():
        if true:
            spans.add(concept, span)
    if name:
        spans.add("object_of_attribute", python.span(owner))
        if name in imported:
            spans.add("module_before_attribute", python.span(owner))
    if isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name):
        spans.add("attribute_chain", python.span(node))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
