"""Lines are indented as Python wants it: deeper only after a colon, and back only to where a block began.

Lines inside brackets are free, blank ones do not count, and only whole lines do. Strings are not looked into.
"""

from __future__ import annotations

OPEN, CLOSE = "([{", ")]}"


def score(prompt: str, said: str) -> float:
    """The share of new lines of code that are indented well; 0 where there is none."""
    text = prompt + said
    lines = text[: text.rfind("\n") + 1].splitlines()
    first, levels, deeper, depth = prompt.count("\n"), [0], False, 0
    good = counted = 0
    for i, line in enumerate(lines):
        code = line.split("#")[0].rstrip()
        if not code.strip():
            continue
        width = len(code) - len(code.lstrip(" "))
        if depth == 0:
            fits = width > levels[-1] if deeper else width in levels
            levels = [level for level in levels if level < width] + [width]
            good, counted = good + (fits and i >= first), counted + (i >= first)
        depth = max(0, depth + sum(code.count(c) for c in OPEN) - sum(code.count(c) for c in CLOSE))
        deeper = depth == 0 and code.endswith(":")
    return good / counted if counted else 0.0
