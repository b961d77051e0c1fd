"""Definitions of Python: functions, classes, parameters, annotations, decorators."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "definitions"

WORDS = {
    "function_name": "in the name of a function being defined",
    "method_name": "in the name of a method being defined",
    "dunder_method_name": "in the name of a special method being defined",
    "test_name": "in the name of a test being defined",
    "private_function_name": "in the name of a private function being defined",
    "class_name": "in the name of a class being defined",
    "base_class": "in a base class",
    "in_signature": "in the signature of a function",
    "in_signature_first_line": "in the first line of a signature of several lines",
    "in_long_signature": "in a signature of several lines",
    "in_class_header": "in the header of a class",
    "parameter_name": "in the name of a parameter",
    "first_parameter": "the first parameter",
    "later_parameter": "in the name of a later parameter",
    "keyword_only_parameter": "in the name of a keyword-only parameter",
    "gathering_parameter": "in the name of a parameter after a star",
    "lambda_parameter": "in the name of a parameter of a lambda",
    "self_parameter": "self or cls as a parameter",
    "parameter_with_default": "in the name of a parameter with a default",
    "default_value": "in a default value",
    "default_none": "None as a default value",
    "in_annotation": "in an annotation",
    "argument_annotation": "in the annotation of a parameter",
    "return_annotation": "in the annotation of a return value",
    "variable_annotation": "in the annotation of a variable",
    "annotation_subscript": "in the brackets of an annotation",
    "optional_annotation": "in an annotation that allows None",
    "string_annotation": "in an annotation in quotes",
    "in_decorator": "in a decorator",
    "decorator_arguments": "in the arguments of a decorator",
    "in_decorated_function": "in the signature of a decorated function",
    "in_lambda": "in a lambda",
    "in_lambda_body": "in the body of a lambda",
    "in_async_function": "in an asynchronous function",
    "in_method": "in a method",
    "in_init": "in __init__",
    "in_test_function": "in a test function",
    "in_property": "in a property",
    "in_generator": "in a generator function",
    "in_nested_function": "in a function within a function",
    "in_class_body": "directly in the body of a class",
    "in_dataclass": "in a dataclass",
    "in_exception_class": "in an exception class",
    "in_module_function": "in a function of the module",
    "in_function": "in the body of a function",
    "function_first_statement": "in the first statement of a function",
    "function_last_statement": "in the last statement of a function",
    "class_attribute": "in the name of a class attribute",
    "stub_body": "in a body that does nothing",
}

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    methods = {id(s) for c in python.nodes(ast.ClassDef) for s in c.body if isinstance(s, _Function)}
    covered = 0  # up to where functions reach that began before
    for function in sorted(python.nodes(ast.FunctionDef, ast.AsyncFunctionDef), key=python.start):
        start, end = python.span(function)
        if start < covered:
            spans.add("in_nested_function", (start, end))
        covered = max(covered, end)
        _header(python, document.data, function, id(function) in methods, spans)
        _parameters(python, function.args, spans)
        _body(python, function, id(function) in methods, spans)
    for one in python.nodes(ast.Lambda):
        spans.add("in_lambda", python.span(one))
        spans.add("in_lambda_body", python.span(one.body))
        for argument in _arguments(one.args):
            spans.add("lambda_parameter", _name_span(python, argument))
    for cls in python.nodes(ast.ClassDef):
        _class(python, document.data, cls, spans)
    for assignment in python.nodes(ast.AnnAssign):
        _annotation(python, assignment.annotation, "variable_annotation", spans)


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (a for a in (arguments.vararg, arguments.kwarg) if a is not None)


def _name_span(python: Python, argument: ast.arg) -> tuple[int, int]:
    start = python.start(argument)
    return start, start + len(argument.arg.encode())


def _defined(python: Python, keyword: str, start: int) -> tuple[int, int]:
    """Where the name stands after ``def`` or ``class``."""
    name = python.keyword_after(keyword, start) + 1
    return int(python.starts[name]), int(python.ends[name])


def _header(python: Python, data: bytes, function: _Function, is_method: bool, spans: Spans) -> None:
    start = python.start(function)
    name = _defined(python, "def", start)
    signature = (start, python.header_end(start, python.start(function.body[0])))
    spans.add("function_name", name)
    spans.add("in_signature", signature)
    dunder = function.name.startswith("__") and function.name.endswith("__")
    holds = {
        "method_name": is_method,
        "dunder_method_name": dunder,
        "test_name": function.name.startswith("test"),
        "private_function_name": function.name.startswith("_") and not dunder,
    }
    for concept, true in holds.items():
        if true:
            spans.add(concept, name)
    line_end = data.find(b"\n", *signature)
    if line_end >= 0:
        spans.add("in_signature_first_line", (start, line_end))
        spans.add("in_long_signature", signature)
    if function.returns is not None:
        _annotation(python, function.returns, "return_annotation", spans)
    _decorators(python, data, function.decorator_list, spans)
    if function.decorator_list:
        spans.add("in_decorated_function", signature)


def _decorators(python: Python, data: bytes, decorators: list[ast.expr], spans: Spans) -> None:
    for decorator in decorators:
        start, end = python.span(decorator)
        spans.add("in_decorator", (max(0, data.rfind(b"@", 0, start)), end))
        if isinstance(decorator, ast.Call):
            spans.add("decorator_arguments", (python.span(decorator.func)[1], end))


def _parameters(python: Python, arguments: ast.arguments, spans: Spans) -> None:
    positional = [*arguments.posonlyargs, *arguments.args]
    for number, argument in enumerate(_arguments(arguments)):
        name = _name_span(python, argument)
        spans.add("parameter_name", name)
        spans.add("first_parameter" if number == 0 else "later_parameter", name)
        if number == 0 and argument.arg in ("self", "cls"):
            spans.add("self_parameter", name)
        if argument.annotation is not None:
            _annotation(python, argument.annotation, "argument_annotation", spans)
    for argument in arguments.kwonlyargs:
        spans.add("keyword_only_parameter", _name_span(python, argument))
    for gathering in (arguments.vararg, arguments.kwarg):
        if gathering is not None:
            spans.add("gathering_parameter", _name_span(python, gathering))
    defaults = arguments.defaults
    pairs = list(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is not None]
    for argument, default in pairs:
        spans.add("parameter_with_default", _name_span(python, argument))
        spans.add("default_value", python.span(default))
        if isinstance(default, ast.Constant) and default.value is None:
            spans.add("default_none", python.span(default))


def _annotation(python: Python, node: ast.expr, name: str, spans: Spans) -> None:
    span = python.span(node)
    spans.add("in_annotation", span)
    spans.add(name, span)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        spans.add("string_annotation", span)
    if isinstance(node, ast.Subscript):
        spans.add("annotation_subscript", (python.span(node.value)[1], span[1]))
    optional = (
        isinstance(node, ast.Subscript) and getattr(node.value, "id", getattr(node.value, "attr", "")) == "Optional"
    )
    if optional or (isinstance(node, ast.BinOp) and _allows_none(node)):
        spans.add("optional_annotation", span)


def _allows_none(node: ast.expr) -> bool:
    """Whether None is one of the types that bars stand between."""
    if isinstance(node, ast.BinOp):
        return _allows_none(node.left) or _allows_none(node.right)
    return isinstance(node, ast.Constant) and node.value is None


def _decorator_names(node: _Function | ast.ClassDef) -> set[str]:
    targets = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return {getattr(t, "attr", getattr(t, "id", "")) for t in targets}


def _body(python: Python, function: _Function, is_method: bool, spans: Spans) -> None:
    first, last = function.body[0], function.body[-1]
    body = (python.start(first), python.span(last)[1])
    spans.add("function_first_statement", python.span(first))
    spans.add("function_last_statement", python.span(last))
    holds = {
        "in_function": True,
        "in_async_function": isinstance(function, ast.AsyncFunctionDef),
        "in_method": is_method,
        "in_init": is_method and function.name == "__init__",
        "in_test_function": function.name.startswith("test"),
        "in_property": bool(_decorator_names(function) & {"property", "cached_property", "setter"}),
        "in_generator": bool(python.nodes(ast.Yield, ast.YieldFrom)) and _yields(function),
        "in_module_function": function.col_offset == 0,
        "stub_body": len(function.body) == 1 and _does_nothing(first),
    }
    for name, true in holds.items():
        if true:
            spans.add(name, body)


def _yields(function: _Function) -> bool:
    """Whether a yield is the function's own, and not one of a function within it."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, _Function | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return False


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Raise) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _class(python: Python, data: bytes, cls: ast.ClassDef, spans: Spans) -> None:
    start, end = python.span(cls)
    spans.add("class_name", _defined(python, "class", start))
    spans.add("in_class_header", (start, python.header_end(start, python.start(cls.body[0]))))
    _decorators(python, data, cls.decorator_list, spans)
    for base in cls.bases:
        spans.add("base_class", python.span(base))
    if "dataclass" in _decorator_names(cls):
        spans.add("in_dataclass", (start, end))
    if any(getattr(b, "id", getattr(b, "attr", "")).endswith(("Error", "Exception", "Warning")) for b in cls.bases):
        spans.add("in_exception_class", (start, end))
    for statement in cls.body:
        if isinstance(statement, _Function | ast.ClassDef):
            continue
        spans.add("in_class_body", python.span(statement))
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                spans.add("class_attribute", python.span(target))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
