"""Import statements of Python."""

from __future__ import annotations

import ast
from itertools import pairwise

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import Python

FAMILY = "imports"

WORDS = {
    "in_import": "in an import statement",
    "in_plain_import": "in an import without from",
    "in_from_import": "in a from-import",
    "in_relative_import": "in a relative import",
    "in_future_import": "in an import from __future__",
    "in_bracketed_import": "in an import list in parentheses",
    "import_module": "in the module of an import",
    "from_module": "in the module after from",
    "from_module_first_part": "in the first part of the module after from",
    "from_module_later_part": "in a later part of the module after from",
    "imported_name": "in a name that is imported",
    "first_imported_name": "in the first name that is imported",
    "later_imported_name": "in a later name that is imported",
    "imported_class": "in a capitalised name that is imported",
    "import_alias": "in the alias of an import",
    "from_keyword_of_import": "the from of an import",
    "import_keyword_after_from": "the import after from",
    "in_import_block": "in a statement right after an import",
    "in_local_import": "in an import within a function",
}


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    for node in python.nodes(ast.Import):
        span = python.span(node)
        spans.add("in_import", span)
        spans.add("in_plain_import", span)
        for alias in node.names:
            _alias(python, alias, "import_module", spans)
    for from_node in python.nodes(ast.ImportFrom):
        _from(python, document.data, from_node, spans)
    _surroundings(python, spans)


def _alias(python: Python, alias: ast.alias, name: str, spans: Spans) -> None:
    start, end = python.span(alias)
    stop = start + len(alias.name.encode())
    spans.add(name, (start, stop))
    if alias.asname is not None:
        spans.add("import_alias", (end - len(alias.asname.encode()), end))


def _from(python: Python, data: bytes, node: ast.ImportFrom, spans: Spans) -> None:
    start, end = span = python.span(node)
    spans.add("in_import", span)
    spans.add("in_from_import", span)
    if node.level:
        spans.add("in_relative_import", span)
    if node.module == "__future__":
        spans.add("in_future_import", span)
    first_name = python.start(node.names[0])
    keyword = int(python.starts[python.keyword_after("import", start)])
    spans.add("from_keyword_of_import", (start, start + 4))
    spans.add("import_keyword_after_from", (keyword, keyword + 6))
    if b"(" in data[keyword:first_name]:
        spans.add("in_bracketed_import", (keyword + 6, end))
    _module(data, start + 4, keyword, spans)
    for number, alias in enumerate(node.names):
        _alias(python, alias, "imported_name", spans)
        _alias(python, alias, "first_imported_name" if number == 0 else "later_imported_name", spans)
        if alias.name[0].isupper():
            _alias(python, alias, "imported_class", spans)


def _module(data: bytes, start: int, end: int, spans: Spans) -> None:
    text = data[start:end]
    first = start + len(text) - len(text.lstrip())
    last = start + len(text.rstrip())
    spans.add("from_module", (first, last))
    dots = len(data[first:last]) - len(data[first:last].lstrip(b"."))
    dot = data.find(b".", first + dots, last)
    spans.add("from_module_first_part", (first + dots, dot if dot >= 0 else last))
    if dot >= 0:
        spans.add("from_module_later_part", (dot, last))


def _surroundings(python: Python, spans: Spans) -> None:
    importing = (ast.Import, ast.ImportFrom)
    for before, after in pairwise(python.tree.body):
        if isinstance(before, importing) and not isinstance(after, importing):
            start, end = python.span(after)
            spans.add("in_import_block", (start, min(end, start + 200)))
    for function in python.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        for statement in function.body:
            if isinstance(statement, importing):
                spans.add("in_local_import", python.span(statement))


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
