"""What flags say together: nothing of what was typed is passed over in silence."""

from __future__ import annotations

from cyclopts import App, ArgumentCollection

from monoscope.errors import MonoscopeError

MAY_BE_EMPTY = ("--relearn",)  # a list of which "" is none


def check(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse a flag with nothing after it, and a key that is set and swept over; cyclopts calls this before it binds.

    A sweep that is typed goes before what a file sets.

    Raises:
        MonoscopeError: there is one of them.
    """
    flags = {argument.name: argument.tokens for argument in arguments if argument.name.startswith("--")}
    takes = {argument.name for argument in arguments if argument.hint is not bool} - {*MAY_BE_EMPTY}
    for name in flags.keys() & takes:
        if any(token.keyword and not str(token.value).strip() for token in flags[name]):
            raise MonoscopeError(f"{name} is given nothing", fix="say what, or leave it out; is a variable not set?")
    swept = {(_key(token.value), token.source) for token in flags.get("--sweep", ())}
    named = {
        (name.removeprefix("--").replace("-", "_"), token.source) for name, tokens in flags.items() for token in tokens
    }
    options = {(_key(token.value), token.source) for token in flags.get("--option", ())}
    for key, _ in sorted(swept & (named | options)):
        raise MonoscopeError(f"{key} is set, and swept over", fix="leave out one of them")


def _key(pair: str) -> str:
    """What ``key=value`` is about."""
    return pair.partition("=")[0].strip().replace("-", "_")
