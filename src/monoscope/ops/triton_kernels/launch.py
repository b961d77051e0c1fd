"""How every kernel is started: on the device where its tensors lie, and not at all when there is nothing to do."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)  # TRITON_INTERPRET=1: kernels run on the CPU, one program at a time
WIDEST = 16_384  # numbers of a row that a program holds in registers


def launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **constants: Any) -> None:
    """Start ``grid`` programs of a kernel on the device of ``first``, its first argument."""
    if min(grid) > 0:
        with torch.cuda.device(first.device) if first.is_cuda else nullcontext():
            kernel[grid](first, *arguments, **constants)


def warps(numbers: int) -> int:
    """Warps for a program that holds so many numbers at once: up to 32 numbers a thread, from 4 to 16 warps."""
    return min(16, max(4, numbers // 1024))
