"""Memory for large results, which a training finds again from step to step.

Every step asks for the same few large pieces of memory and gives them back. The C library hands what was freed to
whoever asks next, so something small that lives longer soon lies in the middle of each large piece, and a training's
memory grows by one piece after the other. Inside ``reserved`` large results therefore lie in a stretch of addresses of
their own, where the smallest gap that suffices is taken and gaps that touch are one. Elsewhere NumPy is asked.

Lengths are rounded up, so that a gap does for another result of about its length; what is added is never touched.
"""

from __future__ import annotations

import bisect
import math
import mmap
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

ALIGNED = 64  # bytes: a cache line, and the longest vector
STEPS = 3  # the logarithm of the lengths that there are between one and its double
LARGE = 1 << 16  # bytes: what is smaller may live long


class Stretch:
    """A stretch of addresses, of which pieces are lent. Pages that nothing was written to take no memory.

    Args:
        size: its length in bytes.

    Raises:
        OSError: the system does not give away so many addresses.
    """

    def __init__(self, size: int) -> None:
        self._bytes = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._starts, self._ends = [0], [size]  # of gaps, in order; no two touch
        self._lock = threading.Lock()
        self._returned: deque[tuple[int, int]] = deque()  # a piece may be let go at any moment, even inside ``lend``

    def lend(self, size: int) -> np.ndarray | None:
        """A piece of ``size`` bytes, a multiple of ``ALIGNED``, until nothing refers to it; None if no gap suffices."""
        with self._lock:
            self._take_back()
            gaps = zip(self._starts, self._ends, strict=True)
            fitting = ((end - start, i) for i, (start, end) in enumerate(gaps) if end - start >= size)
            length, i = min(fitting, default=(0, -1))
            if i < 0:
                return None
            start = self._starts[i]
            if length == size:
                del self._starts[i], self._ends[i]
            else:
                self._starts[i] = start + size
        piece = np.frombuffer(self._bytes, np.uint8, size, start)
        weakref.finalize(piece, self._returned.append, (start, start + size)).atexit = False
        return piece

    def give_back(self) -> None:
        """Give the memory of all gaps back to the system."""
        with self._lock:
            self._take_back()
            for start, end in zip(self._starts, self._ends, strict=True):
                first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
                if first < last:
                    self._bytes.madvise(mmap.MADV_DONTNEED, first, last - first)

    def _take_back(self) -> None:
        while self._returned:
            self._join(*self._returned.popleft())

    def _join(self, start: int, end: int) -> None:
        """Make a gap of a piece, or of that and the gaps that it touches."""
        i = bisect.bisect(self._starts, start)
        if i < len(self._starts) and self._starts[i] == end:
            end = self._ends[i]
            del self._starts[i], self._ends[i]
        if i and self._ends[i - 1] == start:
            self._ends[i - 1] = end
        else:
            self._starts.insert(i, start)
            self._ends.insert(i, end)


_stretches: list[Stretch] = []  # the newest is lent from


@contextmanager
def reserved() -> Iterator[None]:
    """Large results made inside lie in a stretch of their own, which the system gets back at the end, but for what of
    it is still in use.

    It is half as long as this machine's memory. Where the system does not give that, and on others than Linux, nothing
    is changed.
    """
    if sys.platform != "linux":
        yield
        return
    try:
        stretch = Stretch(os.sysconf("SC_PHYS_PAGES") // 2 * mmap.PAGESIZE)
    except OSError:
        yield
        return
    _stretches.append(stretch)
    try:
        yield
    finally:
        _stretches.remove(stretch)
        stretch.give_back()


def room(*shape: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """An uninitialised tensor, like ``torch.empty``'s; on a CPU in memory that a later one of this size can have."""
    if torch.device(device).type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    step = max(ALIGNED, 1 << max(0, size.bit_length() - 1 - STEPS))
    held, first = None, 0
    if _stretches and size >= LARGE:
        held = _stretches[-1].lend(-(-size // step) * step)
    if held is None:
        held = np.empty(-(-size // step) * step + ALIGNED, np.uint8)
        first = -held.ctypes.data % ALIGNED
    # detached: to what nothing else is a view of, autograd adds a second gradient in place
    return torch.from_numpy(held[first : first + size]).view(dtype).view(shape).detach()


def room_like(tensor: Tensor) -> Tensor:
    """The same with the shape, type and device of a tensor."""
    return room(*tensor.shape, dtype=tensor.dtype, device=tensor.device)
