"""Flags that count something take whole numbers only; cyclopts by itself would round what has a fraction."""

from __future__ import annotations

from typing import get_args

from cyclopts import App, ArgumentCollection

from monoscope.errors import MonoscopeError


def check(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse fractions, wherever they were written; cyclopts calls this before it binds arguments.

    Raises:
        MonoscopeError: a number with a fraction, for a flag that counts.
    """
    for argument in arguments:
        kinds = get_args(argument.hint) or (argument.hint,)
        if int not in kinds or float in kinds:
            continue
        for token in argument.tokens:
            if _has_fraction(str(token.value)):
                raise MonoscopeError(f"{argument.name} cannot be {token.value}", fix="give a whole number")


def _has_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except ValueError:  # no decimal number; cyclopts says what it is
        return False
