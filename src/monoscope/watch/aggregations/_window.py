"""The last values of a sequence."""

from __future__ import annotations

from collections import deque

from monoscope.errors import MonoscopeError


def last(window: int) -> deque[float]:
    """Room for so many.

    Raises:
        MonoscopeError: a window that holds no token.
    """
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise MonoscopeError(f"a window of {window!r} tokens", fix="give a whole number, at least 1")
    return deque(maxlen=window)
