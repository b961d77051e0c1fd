"""What stands before a name, number or string of Python code, by ``tokenize``."""

from __future__ import annotations

import token as kinds

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python

FAMILY = "sequence"

_KEYWORDS = (
    "import from def class return in if elif for while not and or is as with raise except assert lambda else yield "
    "await"
)
_AFTER = {word: word for word in _KEYWORDS.split()} | {
    ".": "dot", ",": "comma", "=": "equals", "(": "parenthesis", "[": "square_bracket", "{": "brace", ":": "colon",
    "==": "double_equals", "!=": "unequal", "+": "plus", "-": "minus", "*": "star", "/": "slash", "@": "at",
    "->": "arrow", "+=": "plus_equals", "<": "less", ">": "greater", "%": "percent", "**": "double_star", "|": "bar",
    ")": "closed_parenthesis", "]": "closed_square_bracket",
}  # fmt: skip
_BEFORE = {
    "(": "parenthesis", ".": "dot", "=": "equals", ":": "colon", ",": "comma", ")": "closing_parenthesis",
    "[": "square_bracket", "in": "in", "import": "import", "as": "as", "==": "double_equals",
}  # fmt: skip

WORDS = {
    **{f"code_after_{name}": f"in what follows {string} in code" for string, name in _AFTER.items()},
    **{f"code_before_{name}": f"in what stands before {string} in code" for string, name in _BEFORE.items()},
    "code_after_self_dot": "in what follows self. in code",
    "code_after_name": "in what follows a name in code",
    "code_after_string": "in what follows a string in code",
    "code_after_number": "in what follows a number in code",
    "code_after_comment": "in what follows a comment",
    "code_after_statement": "in the first word of a statement's line",
}

_SKIPPED = (kinds.NL, kinds.COMMENT, kinds.INDENT, kinds.DEDENT)
_BY_KIND = {kinds.NAME: "code_after_name", kinds.STRING: "code_after_string", kinds.NUMBER: "code_after_number"}


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    before, before_kind, last, last_span = "", kinds.NEWLINE, "", (0, 0)
    starts, ends = python.starts.tolist(), python.ends.tolist()
    for i, (kind, string) in enumerate(zip(python.kinds, python.strings, strict=True)):
        if kind in _SKIPPED:
            continue
        span = (starts[i], ends[i])
        symbolic = last if before_kind in (kinds.OP, kinds.NAME) else ""
        if symbolic in _AFTER:
            spans[f"code_after_{_AFTER[symbolic]}"] += span
            if symbolic == "." and before == "self":
                spans["code_after_self_dot"] += span
        elif before_kind in _BY_KIND:
            spans[_BY_KIND[before_kind]] += span
        elif before_kind == kinds.NEWLINE:
            spans["code_after_statement"] += span
        if i and python.kinds[i - 1] in (kinds.NL, kinds.COMMENT) and i > 1 and python.kinds[i - 2] == kinds.COMMENT:
            spans["code_after_comment"] += span
        if string in _BEFORE and kind in (kinds.OP, kinds.NAME):
            spans[f"code_before_{_BEFORE[string]}"] += last_span
        before, before_kind, last, last_span = last, kind, string, span


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
