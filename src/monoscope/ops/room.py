"""Memory for large results, of a kind in which what was freed is found again.

Torch asks glibc for memory at multiples of 64 bytes, and glibc then looks for a piece that is about a hundred bytes
longer, so that it can move the beginning. A piece that a tensor has just left is therefore too short for the next of
the same size, as soon as something small has settled beside it: a training's memory grows by one piece after the
other, though every step asks for the same. Here the bytes are asked for that make the beginning a multiple, so that
the same piece does; and lengths are rounded up, so that one does for another of about its length.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

ALIGNED = 64  # bytes: a cache line, and the longest vector
STEPS = 3  # the logarithm of the lengths that there are between one and its double; what is added is never touched


def room(*shape: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """An uninitialised tensor, like ``torch.empty``'s; on a CPU in memory that a later one of this size can have."""
    if torch.device(device).type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    step = max(ALIGNED, 1 << max(0, size.bit_length() - 1 - STEPS))
    held = np.empty(-(-size // step) * step + ALIGNED, np.uint8)
    first = -held.ctypes.data % ALIGNED
    return torch.from_numpy(held[first : first + size]).view(dtype).view(shape)


def room_like(tensor: Tensor) -> Tensor:
    """The same with the shape, type and device of a tensor."""
    return room(*tensor.shape, dtype=tensor.dtype, device=tensor.device)
