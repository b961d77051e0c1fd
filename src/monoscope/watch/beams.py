"""Beam search is refused where sequences are followed.

Its rows exchange their beginnings between passes, and several go on with one. A cache shows that only as it is
reordered; without one the tokens show it. A sequence that forks has no place in a recording, whose sequences are
tokens one after the other, nor in the log of alarms, so the first exchange is an error: nothing wrong is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn
from weakref import WeakSet

from monoscope.errors import MonoscopeError


def refuse(*_: Any) -> NoReturn:
    """Raises: rows are exchanged."""
    raise MonoscopeError(
        "beam search exchanges the rows of a batch, so its sequences cannot be followed",
        fix="write without beams (num_beams=1), read values alone (follow=False), or watch what was written in a pass "
        "of its own",
    )


class Caches:
    """The caches of the passes so far, each of which refuses to be reordered until it is ``released``."""

    def __init__(self) -> None:
        self._held: WeakSet[Any] = WeakSet()

    def hold(self, cache: Any) -> None:
        """Let a cache refuse, if it is one that can be reordered."""
        if hasattr(cache, "reorder_cache") and cache not in self._held:
            cache.reorder_cache = refuse
            self._held.add(cache)

    @contextmanager
    def released(self) -> Iterator[None]:
        """When the block ends, caches do what they did before."""
        try:
            yield
        finally:
            for cache in self._held:
                del cache.reorder_cache
            self._held.clear()


def check(before: Sequence[list[int]], now: Sequence[list[int]]) -> None:
    """Refuse rows that go on with those of the pass before, a token each, in another order.

    Args:
        before: the tokens of each row of the pass before.
        now: those of each row, of which one does not go on with the row before it.
    """
    if all(row[:-1] in before for row in now):
        refuse()
