"""Concepts in writing: ``in_docstring & ~starts_with_space``, ``keyword_def | token(' self')``.

An expression is built of concept names, ``token('…')``, ``prefix('…')``, ``suffix('…')`` (of the token's own text;
``b'…'`` for tokens that are not whole characters), the same question of another place (``previous('…')``: the token
before is that one; ``_places`` lists them), ``&``, ``|``, ``~`` and parentheses. Several strings mean one of them.
It is parsed with Python's ``ast`` against that list and never evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, every
from monoscope.concepts._places import PLACES, spelled_at
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import TokenisedDocument

Find = Callable[[Analysed], Bool[np.ndarray, " n_tokens"]]

_PLACES = {place.name: place for place in PLACES}
_TESTS: dict[str, Callable[[tuple[bytes, ...]], Callable[[bytes], bool]]] = {
    "prefix": lambda texts: lambda spelling: spelling.startswith(texts),
    "suffix": lambda texts: lambda spelling: spelling.endswith(texts),
    **dict.fromkeys(_PLACES, lambda texts: frozenset(texts).__contains__),
}
_GRAMMAR = "write concept names, token('…'), prefix('…'), suffix('…'), previous('…'), joined by & | ~ and parentheses"


@dataclass(frozen=True)
class Expression:
    """A predicate over tokens, made by ``concept(text)``."""

    text: str
    find: Find = field(repr=False, compare=False)

    def mask(self, document: TokenisedDocument | Analysed) -> Bool[np.ndarray, " n_tokens"]:
        """True on the tokens of ``document`` on which the expression holds; ``(n_tokens,)``.

        Raises:
            MonoscopeError: the document is not tokenised.
        """
        if not isinstance(document, TokenisedDocument | Analysed):
            raise MonoscopeError(
                f"a {type(document).__name__} has no tokens", fix="tokenise it: lm.tokeniser.text(…) of a text"
            )
        return self.find(document if isinstance(document, Analysed) else Analysed(document))


def concept(expression: str) -> Expression:
    """The predicate that ``expression`` writes down.

    >>> concept("in_docstring & ~starts_with_space").text
    'in_docstring & ~starts_with_space'

    Raises:
        MonoscopeError: it is not an expression, or names an unknown concept (the message suggests the nearest).
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (AttributeError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise MonoscopeError(f"{expression!r} is no expression over concepts", fix=_GRAMMAR) from error
    return Expression(expression, _Reader(expression).read(tree.body))


def token_literal(*spellings: bytes, test: str = "token") -> str:
    """``token('…')`` for a token's bytes, ``token(b'…')`` when they are not whole characters; any other test alike."""
    return f"{test}({', '.join(map(_quoted, spellings))})"


def _quoted(spelling: bytes) -> str:
    try:
        return repr(spelling.decode())
    except UnicodeDecodeError:
        return repr(spelling)


class _Reader:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.concepts: dict[str, Concept] = {c.name: c for c in every()}

    def read(self, node: ast.expr) -> Find:
        if isinstance(node, ast.Name):
            if node.id not in self.concepts:
                raise unknown_name("concept", node.id, self.concepts)
            return self.concepts[node.id].find
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            left, right = self.read(node.left), self.read(node.right)
            if isinstance(node.op, ast.BitAnd):
                return lambda document: left(document) & right(document)
            return lambda document: left(document) | right(document)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            inner = self.read(node.operand)
            return lambda document: ~inner(document)
        if isinstance(node, ast.Call):
            return self._test(node)
        raise MonoscopeError(f"{ast.unparse(node)!r} has no place in {self.expression!r}", fix=_GRAMMAR)

    def _test(self, node: ast.Call) -> Find:
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in _TESTS:
            raise unknown_name("test of a token", name, _TESTS)
        values = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str | bytes)]
        if node.keywords or not values or len(values) < len(node.args):
            raise MonoscopeError(
                f"{name} takes one string in quotes, or several", where=self.expression, fix=f"write {name}('def')"
            )
        predicate = _TESTS[name](tuple(v.encode() if isinstance(v, str) else v for v in values))
        if name not in _PLACES:
            return lambda document: document.spelled(predicate)
        return lambda document: spelled_at(document, _PLACES[name], predicate)
