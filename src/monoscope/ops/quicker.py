"""Which of several ways to the same bits is the quickest on this machine, found by taking each a few times.

What is worth it depends on caches and on how far they lie from the cores, which no name of a processor tells. Since
all ways give the same, a choice that a busy moment spoilt costs time and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Way = TypeVar("Way", bound=Hashable)
TRIES = 4  # of each way: the first compiles, others may be disturbed

_took: dict[Hashable, dict[Any, list[float]]] = {}  # seconds, by what is done and in which way


def quickest(what: Hashable, ways: Sequence[Way], run: Callable[[Way], T]) -> T:
    """``run`` with one of ``ways``: each in turn at first, then the one whose best time was least.

    Args:
        what: names the work; alike for all work that takes about as long, for each name is tried and kept.
        ways: what ``run`` can be called with, the same for one name; one of them alone is not timed.
        run: gives the same whichever way it is called with.
    """
    if len(ways) == 1:
        return run(ways[0])
    took = _took.setdefault(what, {way: [] for way in ways})
    way = min(ways, key=lambda one: len(took[one]))
    if len(took[way]) >= TRIES:
        return run(min(ways, key=lambda one: min(took[one])))
    began = time.perf_counter()
    made = run(way)
    took[way].append(time.perf_counter() - began)
    return made
