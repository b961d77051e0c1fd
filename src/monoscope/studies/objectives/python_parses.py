"""The compiler's word: what was said is Python as far as it goes, and at least a line of it is whole.

Text is judged up to its last line break, for a continuation ends anywhere. It counts when the compiler finds no error
in it (a statement may be left unfinished) and when some prefix that ends in a new line of code parses whole. So neither
an endless string nor nothing but blank lines and comments passes.
"""

from __future__ import annotations

import ast
import warnings

INCOMPLETE = getattr(ast, "PyCF_ALLOW_INCOMPLETE_INPUT", 0x4000)


def score(prompt: str, said: str) -> float:
    """1 where it parses, else 0."""
    text = prompt + said
    whole = text[: text.rfind("\n") + 1]
    lines = whole.splitlines(keepends=True)
    first = prompt.count("\n")
    if len(lines) <= first or _state(whole) == "wrong":
        return 0.0
    code = [i for i in range(first, len(lines)) if lines[i].split("#")[0].strip()]
    return float(any(_state("".join(lines[: i + 1])) == "whole" for i in code))


def _state(text: str) -> str:
    """``whole``, ``unfinished`` or ``wrong``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "said", "exec", ast.PyCF_ONLY_AST | INCOMPLETE, dont_inherit=True)
        return "whole"
    except SyntaxError as error:
        return "unfinished" if "incomplete input" in str(error) else "wrong"
    except (ValueError, RecursionError, MemoryError):  # null bytes, too deep a nesting
        return "wrong"
