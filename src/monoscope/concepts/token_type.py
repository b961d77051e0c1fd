"""What Python's ``tokenize`` calls a token: its type, its keywords, and the operators by use."""

from __future__ import annotations

import keyword
import token as kinds

import numpy as np

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python

FAMILY = "token_type"

_KINDS = {
    kinds.NAME: "py_name",
    kinds.NUMBER: "py_number",
    kinds.STRING: "py_string",
    kinds.OP: "py_operator",
    kinds.COMMENT: "py_comment",
    kinds.NEWLINE: "py_newline",
    kinds.NL: "py_line_break",
}
_CLASSES: dict[str, tuple[str, frozenset[str]]] = {
    "py_keyword": ("a keyword", frozenset(keyword.kwlist)),
    "keyword_block": (
        "a keyword that opens a block",
        frozenset("if elif else for while try except finally with def class".split()),
    ),
    "keyword_branch": ("a keyword of a condition", frozenset("if elif else".split())),
    "keyword_loop": ("a keyword of a loop", frozenset("for while break continue".split())),
    "keyword_exception": ("a keyword of error handling", frozenset("try except finally raise assert".split())),
    "keyword_importing": ("a keyword of an import", frozenset("import from as".split())),
    "keyword_defining": ("a keyword of a definition", frozenset("def class lambda async".split())),
    "keyword_leaving": ("a keyword that leaves a block", frozenset("return break continue raise yield pass".split())),
    "keyword_logic": ("a logical keyword", frozenset("and or not in is".split())),
    "keyword_constant": ("True, False or None", frozenset(("True", "False", "None"))),
    "keyword_scope": ("a keyword of scope", frozenset("global nonlocal del".split())),
    "keyword_asynchronous": ("a keyword of asynchrony", frozenset("async await".split())),
}

WORDS = {
    "py_name": "a Python name",
    "py_number": "a Python number",
    "py_string": "in a Python string",
    "py_operator": "a Python operator or bracket",
    "py_comment": "in a Python comment",
    "py_newline": "the line break that ends a statement",
    "py_line_break": "a line break that ends no statement",
    **{name: words for name, (words, _) in _CLASSES.items()},
    **{f"keyword_{word.lower()}": f"the keyword {word}" for word in keyword.kwlist},
}


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    of_kind = np.array(python.kinds)
    for kind, name in _KINDS.items():
        spans[name] += python.spans_of(np.flatnonzero(of_kind == kind).tolist()).tolist()
    for word in keyword.kwlist:
        found = python.spans_of(python.by_string.get(word, [])).tolist()
        spans[f"keyword_{word.lower()}"] += found
        for name, (_, members) in _CLASSES.items():
            if word in members:
                spans[name] += found
    # Names are what is left of NAME: keywords are counted as keywords.
    names = [i for i in np.flatnonzero(of_kind == kinds.NAME).tolist() if not keyword.iskeyword(python.strings[i])]
    spans["py_name"] = python.spans_of(names).tolist()


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
