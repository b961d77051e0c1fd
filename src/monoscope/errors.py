"""The one exception that means "the input, not the program, is at fault"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MonoscopeError(Exception):
    """A problem the user can mend: what was wrong, where, and what to do about it.

    The command line prints ``str(error)`` and exits with status 2; every other exception is a defect of Monoscope.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        parts = [what if where is None else f"{what} ({where})"]
        if fix is not None:
            parts.append(f"→ {fix}")
        super().__init__("\n".join(parts))


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> MonoscopeError:
    """The error for a name that is not among ``valid``; it suggests the nearest one."""
    options = sorted(valid)
    near = difflib.get_close_matches(str(name), options, n=1, cutoff=0.4)
    fix = f"did you mean {near[0]!r}? " if near else ""
    return MonoscopeError(f"unknown {kind} {name!r}", fix=f"{fix}valid: {', '.join(options)}")
