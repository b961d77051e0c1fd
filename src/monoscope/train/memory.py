"""Keeping freed memory for the next step, while a training runs.

Every step asks for the same few large pieces of memory and gives them back. By default the C library of Linux returns
them to the system each time, and every page has to be made, zeroed and mapped again: a tenth of a step.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM, MMAP = -1, -3  # names of mallopt's settings
KEPT = 1 << 30  # bytes that may lie free, and below which nothing is mapped on its own
USUAL = {MMAP: 32 << 20, TRIM: 64 << 20}  # what the library's own adaptation grows to after large pieces were freed


@contextmanager
def kept() -> Iterator[None]:
    """What is freed inside stays with this process, and is given back at the end; what was freed before, at once.

    Without glibc nothing is changed.
    """
    library = ctypes.CDLL(None)
    adjust, trim = getattr(library, "mallopt", None), getattr(library, "malloc_trim", None)
    if adjust is None or trim is None:
        yield
        return
    for name in USUAL:
        adjust(name, KEPT)
    trim(0)  # what was freed before, in pieces that no step asks for
    try:
        yield
    finally:
        for name, value in USUAL.items():
            adjust(name, value)
        trim(0)
