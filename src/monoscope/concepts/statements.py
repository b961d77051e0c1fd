"""Statements of Python: targets, values, conditions, exceptions, and the blocks that they open."""

from __future__ import annotations

import ast

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "statements"

WORDS = {
    "assignment_target": "in the target of an assignment",
    "assigned_name": "in a plain name that is assigned",
    "assigned_tuple": "in several targets of one assignment",
    "assigned_item": "in an item that is assigned",
    "assigned_value": "in the value of an assignment",
    "assigned_value_start": "at the start of the value of an assignment",
    "augmented_target": "in the target of an augmented assignment",
    "augmented_value": "in the value of an augmented assignment",
    "global_target": "in a global variable being assigned",
    "global_constant": "in a global constant being assigned",
    "global_value": "in the value of a global assignment",
    "dunder_all": "in the value of __all__",
    "in_return": "in a return statement",
    "return_value": "in a returned value",
    "return_value_start": "at the start of a returned value",
    "yielded_value": "in a yielded value",
    "awaited_value": "in an awaited value",
    "if_condition": "in the condition of an if",
    "if_condition_start": "at the start of the condition of an if",
    "while_condition": "in the condition of a while",
    "for_target": "in the target of a for",
    "for_iterable": "in what a for runs over",
    "in_for_header": "in the header of a for",
    "with_item": "in what a with opens",
    "with_target": "in the name that a with binds",
    "in_assert": "in an assert statement",
    "assert_condition": "in the condition of an assert",
    "assert_message": "in the message of an assert",
    "in_raise": "in a raise statement",
    "raised_name": "in the name of an exception that is raised",
    "except_name": "in the name of an exception that is caught",
    "except_alias": "in the name that an except binds",
    "raise_cause": "in the cause of an exception",
    "deleted": "in what is deleted",
    "in_global_statement": "in a global or nonlocal statement",
    "expression_statement": "in an expression that is a statement",
    "statement_start": "at the start of a statement",
    "in_if_body": "in the body of an if",
    "in_else_body": "in the body of an else or elif",
    "in_for_body": "in the body of a for",
    "in_while_body": "in the body of a while",
    "in_try_body": "in the body of a try",
    "in_except_body": "in the body of an except",
    "in_finally_body": "in the body of a finally",
    "in_with_body": "in the body of a with",
    "in_main_guard": "in a main guard",
    "in_type_checking": "under TYPE_CHECKING",
    "in_match": "in a match statement",
    "in_module_body": "in a statement of the module that defines nothing",
    "multiline_statement": "in a simple statement over several lines",
    "multiline_statement_continued": "in a later line of a simple statement",
}

_SIMPLE = (
    ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr, ast.Raise, ast.Assert, ast.Delete, ast.Import,
    ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Pass, ast.Break, ast.Continue,
)  # fmt: skip
_COMPOUND = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.FunctionDef,
    ast.AsyncFunctionDef, ast.ClassDef, ast.Match,
)  # fmt: skip


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    for collect in (_assignments, _globals, _values, _conditions, _loops, _contexts, _errors, _blocks, _others):
        collect(python, spans)
    for statement in python.nodes(*_SIMPLE):
        start, end = python.span(statement)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # docstrings are told of elsewhere
        line_end = document.data.find(b"\n", start, end)
        if line_end >= 0:
            spans.add("multiline_statement", (start, end))
            spans.add("multiline_statement_continued", (line_end, end))


def _head(python: Python, node: ast.expr | ast.stmt) -> tuple[int, int]:
    """The first byte of a node as a span: the token that begins there."""
    start = python.start(node)
    return start, start + 1


def _assignments(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Assign):
        for target in node.targets:
            _target(python, target, spans)
        spans.add("assigned_value", python.span(node.value))
        spans.add("assigned_value_start", _head(python, node.value))
    for annotated in python.nodes(ast.AnnAssign):
        _target(python, annotated.target, spans)
        if annotated.value is not None:
            spans.add("assigned_value", python.span(annotated.value))
            spans.add("assigned_value_start", _head(python, annotated.value))
    for augmented in python.nodes(ast.AugAssign):
        spans.add("augmented_target", python.span(augmented.target))
        spans.add("augmented_value", python.span(augmented.value))


def _target(python: Python, target: ast.expr, spans: Spans) -> None:
    span = python.span(target)
    spans.add("assignment_target", span)
    if isinstance(target, ast.Name):
        spans.add("assigned_name", span)
    elif isinstance(target, ast.Tuple | ast.List):
        spans.add("assigned_tuple", span)
    elif isinstance(target, ast.Subscript):
        spans.add("assigned_item", span)


def _globals(python: Python, spans: Spans) -> None:
    for statement in python.tree.body:
        if not isinstance(statement, _COMPOUND):
            spans.add("in_module_body", python.span(statement))
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            if isinstance(target, ast.Name):
                spans.add("global_target", python.span(target))
                if target.id.isupper():
                    spans.add("global_constant", python.span(target))
                if target.id == "__all__" and statement.value is not None:
                    spans.add("dunder_all", python.span(statement.value))
        if statement.value is not None:
            spans.add("global_value", python.span(statement.value))


def _values(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Return):
        spans.add("in_return", python.span(node))
        if node.value is not None:
            spans.add("return_value", python.span(node.value))
            spans.add("return_value_start", _head(python, node.value))
    for yielded in python.nodes(ast.Yield, ast.YieldFrom):
        if yielded.value is not None:
            spans.add("yielded_value", python.span(yielded.value))
    for awaited in python.nodes(ast.Await):
        spans.add("awaited_value", python.span(awaited.value))


def _conditions(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.If):
        spans.add("if_condition", python.span(node.test))
        spans.add("if_condition_start", _head(python, node.test))
    for loop in python.nodes(ast.While):
        spans.add("while_condition", python.span(loop.test))
    for check in python.nodes(ast.Assert):
        spans.add("in_assert", python.span(check))
        spans.add("assert_condition", python.span(check.test))
        if check.msg is not None:
            spans.add("assert_message", python.span(check.msg))


def _loops(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.For, ast.AsyncFor):
        spans.add("for_target", python.span(node.target))
        spans.add("for_iterable", python.span(node.iter))
        start = python.start(node)
        spans.add("in_for_header", (start, python.header_end(start, python.start(node.body[0]))))


def _contexts(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.With, ast.AsyncWith):
        for item in node.items:
            spans.add("with_item", python.span(item.context_expr))
            if item.optional_vars is not None:
                spans.add("with_target", python.span(item.optional_vars))


def _errors(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Raise):
        spans.add("in_raise", python.span(node))
        if node.exc is not None:
            spans.add("raised_name", python.span(node.exc.func if isinstance(node.exc, ast.Call) else node.exc))
        if node.cause is not None:
            spans.add("raise_cause", python.span(node.cause))
    for handler in python.nodes(ast.ExceptHandler):
        if handler.type is None:
            continue
        end = python.span(handler.type)[1]
        spans.add("except_name", python.span(handler.type))
        if handler.name is not None:
            name = handler.name.encode()
            place = python.data.index(name, python.data.index(b"as", end) + 2)
            spans.add("except_alias", (place, place + len(name)))


def _block(python: Python, body: list[ast.stmt]) -> tuple[int, int]:
    return python.start(body[0]), python.span(body[-1])[1]


def _blocks(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.If):
        spans.add("in_if_body", _block(python, node.body))
        if node.orelse:
            spans.add("in_else_body", _block(python, node.orelse))
        names = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(node.test)}
        for name, concept in (("__name__", "in_main_guard"), ("TYPE_CHECKING", "in_type_checking")):
            if name in names:
                spans.add(concept, python.span(node))
    for loop in python.nodes(ast.For, ast.AsyncFor):
        spans.add("in_for_body", _block(python, loop.body))
    for repeat in python.nodes(ast.While):
        spans.add("in_while_body", _block(python, repeat.body))
    for attempt in python.nodes(ast.Try, ast.TryStar):
        spans.add("in_try_body", _block(python, attempt.body))
        if attempt.finalbody:
            spans.add("in_finally_body", _block(python, attempt.finalbody))
    for handler in python.nodes(ast.ExceptHandler):
        spans.add("in_except_body", _block(python, handler.body))
    for context in python.nodes(ast.With, ast.AsyncWith):
        spans.add("in_with_body", _block(python, context.body))


def _others(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Delete):
        for target in node.targets:
            spans.add("deleted", python.span(target))
    for scope in python.nodes(ast.Global, ast.Nonlocal):
        spans.add("in_global_statement", python.span(scope))
    for match in python.nodes(ast.Match):
        spans.add("in_match", python.span(match))
    for expression in python.nodes(ast.Expr):
        if not isinstance(expression.value, ast.Constant):
            spans.add("expression_statement", python.span(expression))
    for statement in python.nodes(*_SIMPLE, *_COMPOUND):
        spans.add("statement_start", _head(python, statement))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
