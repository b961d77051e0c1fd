"""Operators and punctuation of Python by their use: which comma, which colon, which equals sign, which bracket."""

from __future__ import annotations

import token as kinds

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted_python
from monoscope.concepts._python import CLOSER, KEYWORDS, Python

FAMILY = "operators"

_CLASSES: dict[str, tuple[str, str]] = {
    "arithmetic": ("an arithmetic operator", "// %"),  # and / + - * ** where they stand between operands
    "comparison_operator": ("a comparison operator", "== != < > <= >="),
    "equality_operator": ("== or !=", "== !="),
    "augmented_assignment": ("an augmented assignment", "+= -= *= /= //= %= **= @= &= |= ^= >>= <<="),
    "bitwise": ("a bitwise operator", "& | ^ ~ << >>"),
    "arrow": ("the arrow before a return annotation", "->"),
    "walrus": ("an assignment within an expression", ":="),
    "ellipsis": ("an ellipsis", "..."),
    "dot": ("a dot of Python syntax", "."),
    "comma": ("a comma of Python syntax", ","),
    "semicolon": ("a semicolon of Python syntax", ";"),
}
_OWNERS = {
    "call": "of a call",
    "parameters": "of a parameter list",
    "bases": "of a list of base classes",
    "group": "of a tuple or group",
    "subscript": "of a subscript",
    "list": "of a list",
    "dict": "of a dictionary",
    "set": "of a set",
}

WORDS = {
    **{name: words for name, (words, _) in _CLASSES.items()},
    **{f"comma_{owner}": f"a comma {words}" for owner, words in _OWNERS.items()},
    **{f"opening_{owner}": f"the opening bracket {words}" for owner, words in _OWNERS.items()},
    **{f"closing_{owner}": f"the closing bracket {words}" for owner, words in _OWNERS.items()},
    "empty_call": "the brackets of a call without arguments",
    "block_colon": "the colon that opens a block",
    "annotation_colon": "the colon before an annotation",
    "dict_colon": "the colon of a dictionary entry",
    "slice_colon": "the colon of a slice",
    "lambda_colon": "the colon of a lambda",
    "assignment_equals": "the equals sign of an assignment",
    "keyword_equals": "the equals sign of a keyword argument",
    "default_equals": "the equals sign of a default value",
    "unpacking_star": "a star that unpacks or gathers",
    "unary_sign": "a sign before a number or name",
    "relative_dot": "a dot of a relative import",
    "decorator_at": "the at sign of a decorator",
    "trailing_comma": "a comma at the end of a line",
    "comma_before_closing": "a comma just before a closing bracket",
}

_BLOCKS = frozenset("if elif else for while try except finally with def class async match case".split())


def _collect(document: Analysed, spans: Spans) -> None:
    python = document.python
    assert python is not None  # painted_python asks for Python only
    for name, (_, strings) in _CLASSES.items():
        for string in strings.split():
            spans[name] += python.spans_of(python.by_string.get(string, [])).tolist()
    for collect in (_commas, _brackets, _colons, _equals, _stars_and_signs, _dots_and_decorators):
        collect(python, spans)


def _add(python: Python, spans: Spans, name: str, token: int) -> None:
    spans[name] += (int(python.starts[token]), int(python.ends[token]))


def _commas(python: Python, spans: Spans) -> None:
    for i in python.by_string.get(",", []):
        if python.owner[i] >= 0:
            _add(python, spans, f"comma_{python.bracket[python.owner[i]]}", i)
        if python.kinds[i + 1] in (kinds.NL, kinds.COMMENT):
            _add(python, spans, "trailing_comma", i)
        if _next_ink(python, i) in CLOSER:
            _add(python, spans, "comma_before_closing", i)


def _next_ink(python: Python, token: int) -> str:
    following = token + 1
    while python.kinds[following] in (kinds.NL, kinds.COMMENT):
        following += 1
    return python.strings[following]


def _brackets(python: Python, spans: Spans) -> None:
    stack: list[int] = []
    pairs = sorted(i for string in "()[]{}" for i in python.by_string.get(string, []))
    for i in pairs:
        if python.strings[i] not in CLOSER:
            stack.append(i)
            _add(python, spans, f"opening_{python.bracket[i]}", i)
        elif stack:
            opener = stack.pop()
            _add(python, spans, f"closing_{python.bracket[opener]}", i)
            if python.bracket[opener] == "call" and opener == i - 1:
                _add(python, spans, "empty_call", opener)
                _add(python, spans, "empty_call", i)


def _colons(python: Python, spans: Spans) -> None:
    lambdas = set(python.by_string.get("lambda", []))
    waiting: list[int] = []  # bracket depths at which a lambda has yet to meet its colon
    first = ""  # the first word of the statement
    fresh = True
    for i, (kind, string) in enumerate(zip(python.kinds, python.strings, strict=True)):
        if kind == kinds.NEWLINE or string == ";":
            fresh, waiting = True, []
            continue
        if fresh and kind in (kinds.NAME, kinds.OP, kinds.NUMBER, kinds.STRING):
            first, fresh = string, False
        if i in lambdas:
            waiting.append(python.depth[i])
        if string != ":" or kind != kinds.OP:
            continue
        if waiting and waiting[-1] == python.depth[i]:
            waiting.pop()
            _add(python, spans, "lambda_colon", i)
            continue
        _add(python, spans, _colon(python, i, first), i)
        # A statement may follow on the same line: "if x: y: int = 1".
        fresh = python.depth[i] == 0 and first in _BLOCKS


def _colon(python: Python, token: int, first: str) -> str:
    owner = python.owner[token]
    if owner < 0:
        return "block_colon" if first in _BLOCKS else "annotation_colon"
    use = python.bracket[owner]
    return {"subscript": "slice_colon", "dict": "dict_colon", "set": "dict_colon"}.get(use, "annotation_colon")


def _equals(python: Python, spans: Spans) -> None:
    for i in python.by_string.get("=", []):
        use = python.bracket[python.owner[i]] if python.owner[i] >= 0 else ""
        name = {"": "assignment_equals", "parameters": "default_equals"}.get(use, "keyword_equals")
        _add(python, spans, name, i)


def _stars_and_signs(python: Python, spans: Spans) -> None:
    for string, name in (("*", "unpacking_star"), ("**", "unpacking_star"), ("-", "unary_sign"), ("+", "unary_sign")):
        for i in python.by_string.get(string, []):
            kind, before = (python.kinds[i - 1], python.strings[i - 1]) if i else (kinds.NEWLINE, "")
            binary = (
                kind in (kinds.NUMBER, kinds.STRING)
                or (kind == kinds.NAME and (before not in KEYWORDS or before in ("None", "True", "False")))
                or before in CLOSER
            )
            _add(python, spans, "arithmetic" if binary else name, i)
    for i in python.by_string.get("/", []):
        if python.strings[i + 1] not in (",", ")", ":"):  # which follow the mark of positional parameters
            _add(python, spans, "arithmetic", i)


def _dots_and_decorators(python: Python, spans: Spans) -> None:
    dots = {*python.by_string.get(".", []), *python.by_string.get("...", [])}
    for i in python.by_string.get("from", []):
        following = i + 1
        while following in dots:
            _add(python, spans, "relative_dot", following)
            following += 1
    line_begins = (kinds.NEWLINE, kinds.NL, kinds.INDENT, kinds.DEDENT, kinds.COMMENT)
    for i in python.by_string.get("@", []):
        if python.depth[i] == 0 and (i == 0 or python.kinds[i - 1] in line_begins):
            _add(python, spans, "decorator_at", i)


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted_python(FAMILY, WORDS, _collect)
