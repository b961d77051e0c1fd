"""Expressions of Python: containers, subscripts, comprehensions, comparisons and operators with their operands."""

from __future__ import annotations

import ast

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "expressions"

WORDS = {
    "in_dict": "in a dictionary display",
    "dict_key": "in a key of a dictionary",
    "dict_value": "in a value of a dictionary",
    "in_list": "in a list display",
    "list_item": "in an item of a list",
    "in_tuple": "in a tuple",
    "tuple_item": "in an item of a tuple",
    "in_set": "in a set display",
    "in_nested_list": "in a list or tuple within a list or tuple",
    "in_long_list": "in a list, tuple or set of eight or more",
    "in_string_list": "in a list, tuple or set of strings",
    "in_number_list": "in a list or tuple of numbers",
    "subscript": "in the brackets of a subscript",
    "subscripted": "in what is subscripted",
    "slice_bound": "in a bound of a slice",
    "in_slice": "in a slice",
    "number_index": "a number as an index",
    "negative_index": "in a negative index",
    "tuple_index": "in an index of several parts",
    "in_comprehension": "in a comprehension",
    "in_list_comprehension": "in a list comprehension",
    "in_dict_comprehension": "in a dictionary comprehension",
    "in_generator_expression": "in a generator expression",
    "comprehension_element": "in the element of a comprehension",
    "comprehension_target": "in the target of a comprehension",
    "comprehension_iterable": "in what a comprehension runs over",
    "comprehension_condition": "in the condition of a comprehension",
    "in_comparison": "in a comparison",
    "comparison_left": "on the left of a comparison",
    "comparison_right": "on the right of a comparison",
    "compared_with_none": "in a comparison with None",
    "compared_with_number": "in a comparison with a number",
    "compared_with_string": "in a comparison with a string",
    "membership_test": "in a test of membership",
    "boolean_operand": "in an operand of and or or",
    "negated": "in what is negated",
    "arithmetic_operand": "in an operand of arithmetic",
    "arithmetic_right": "on the right of an arithmetic operator",
    "string_formatting": "in a string formatted with %",
    "power_operand": "in a base or exponent",
    "bitwise_operand": "in an operand of a bitwise operator",
    "signed_operand": "in what a sign stands before",
    "conditional_expression": "in a conditional expression",
    "conditional_test": "in the test of a conditional expression",
    "starred": "in what a star unpacks",
    "python_true_false": "True or False in code",
    "python_none": "None in code",
    "python_string_concatenation": "in strings added together",
}

_BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)
_COMPREHENSIONS: tuple[tuple[type[ast.ListComp] | type[ast.SetComp] | type[ast.GeneratorExp], str], ...] = (
    (ast.ListComp, "in_list_comprehension"),
    (ast.SetComp, "in_comprehension"),
    (ast.GeneratorExp, "in_generator_expression"),
)


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    for collect in (_sequences, _dicts, _subscripts, _comprehensions, _comparisons, _operators, _others):
        collect(python, spans)


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _sequences(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.List, ast.Tuple, ast.Set):
        span = python.span(node)
        name = type(node).__name__.lower()
        spans.add(f"in_{name}", span)
        if name != "set":
            for item in node.elts:
                spans.add(f"{name}_item", python.span(item))
        holds = {
            "in_long_list": len(node.elts) >= 8,
            "in_string_list": len(node.elts) > 1 and all(map(_is_string, node.elts)),
            "in_number_list": len(node.elts) > 1 and all(map(_is_number, node.elts)),
        }
        for concept, true in holds.items():
            if true:
                spans.add(concept, span)
        for item in node.elts:
            if isinstance(item, ast.List | ast.Tuple):
                spans.add("in_nested_list", python.span(item))


def _dicts(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Dict):
        spans.add("in_dict", python.span(node))
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                spans.add("dict_key", python.span(key))
            spans.add("dict_value", python.span(value))


def _subscripts(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Subscript):
        index = node.slice
        spans.add("subscripted", python.span(node.value))
        spans.add("subscript", (python.span(node.value)[1], python.span(node)[1]))
        if isinstance(index, ast.Tuple):
            spans.add("tuple_index", python.span(index))
        if _is_number(index):
            negative = isinstance(index, ast.UnaryOp)
            spans.add("negative_index" if negative else "number_index", python.span(index))
    for part in python.nodes(ast.Slice):
        spans.add("in_slice", python.span(part))
        for bound in (part.lower, part.upper, part.step):
            if bound is not None:
                spans.add("slice_bound", python.span(bound))


def _comprehensions(python: Python, spans: Spans) -> None:
    for kind, name in _COMPREHENSIONS:
        for node in python.nodes(kind):
            spans.add("in_comprehension", python.span(node))
            spans.add(name, python.span(node))
            spans.add("comprehension_element", python.span(node.elt))
    for table in python.nodes(ast.DictComp):
        spans.add("in_comprehension", python.span(table))
        spans.add("in_dict_comprehension", python.span(table))
        spans.add("comprehension_element", python.span(table.key))
        spans.add("comprehension_element", python.span(table.value))
    for clause in python.nodes(ast.comprehension):
        spans.add("comprehension_target", python.span(clause.target))
        spans.add("comprehension_iterable", python.span(clause.iter))
        for condition in clause.ifs:
            spans.add("comprehension_condition", python.span(condition))


def _comparisons(python: Python, spans: Spans) -> None:
    for node in python.nodes(ast.Compare):
        span = python.span(node)
        spans.add("in_comparison", span)
        spans.add("comparison_left", python.span(node.left))
        for right in node.comparators:
            spans.add("comparison_right", python.span(right))
        right = node.comparators[0]
        holds = {
            "compared_with_none": isinstance(right, ast.Constant) and right.value is None,
            "compared_with_number": _is_number(right),
            "compared_with_string": _is_string(right),
            "membership_test": isinstance(node.ops[0], ast.In | ast.NotIn),
        }
        for concept, true in holds.items():
            if true:
                spans.add(concept, span)


def _operators(python: Python, spans: Spans) -> None:
    for logical in python.nodes(ast.BoolOp):
        for value in logical.values:
            spans.add("boolean_operand", python.span(value))
    for unary in python.nodes(ast.UnaryOp):
        negation = isinstance(unary.op, ast.Not)
        spans.add("negated" if negation else "signed_operand", python.span(unary.operand))
    for node in python.nodes(ast.BinOp):
        span = python.span(node)
        if isinstance(node.op, _BITWISE):
            spans.add("bitwise_operand", span)
        elif isinstance(node.op, ast.Mod) and (_is_string(node.left) or isinstance(node.left, ast.JoinedStr)):
            spans.add("string_formatting", span)
        elif isinstance(node.op, ast.Add) and (_is_string(node.left) or _is_string(node.right)):
            spans.add("python_string_concatenation", span)
        else:
            spans.add("arithmetic_operand", span)
            spans.add("arithmetic_right", python.span(node.right))
            if isinstance(node.op, ast.Pow):
                spans.add("power_operand", span)


def _others(python: Python, spans: Spans) -> None:
    for choice in python.nodes(ast.IfExp):
        spans.add("conditional_expression", python.span(choice))
        spans.add("conditional_test", python.span(choice.test))
    for star in python.nodes(ast.Starred):
        spans.add("starred", python.span(star.value))
    for constant in python.nodes(ast.Constant):
        if isinstance(constant.value, bool):
            spans.add("python_true_false", python.span(constant))
        elif constant.value is None:
            spans.add("python_none", python.span(constant))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
