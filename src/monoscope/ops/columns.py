"""Every column's sum, in fp32, and its count of positive entries: one pass over a block of any precision."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from torch import Tensor

from monoscope.ops.kernels import parallel

STRIP = 512  # rows that one thread adds up before it goes on


def reference(block: Float[Tensor, "n m"]) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """The same by two reductions."""
    return block.sum(0, dtype=torch.float32), (block > 0).sum(0)


def columns(block: Float[Tensor, "n m"]) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """For every column the sum of its entries, and how many of them are above 0."""
    if block.device.type != "cpu" or block.dtype not in (torch.bfloat16, torch.float32):
        return reference(block)
    block = block.contiguous()
    strips = -(-len(block) // STRIP)
    sums, counts = np.zeros((strips, block.shape[1]), np.float32), np.zeros((strips, block.shape[1]), np.int32)
    if block.dtype == torch.bfloat16:
        _of_bfloat16(block.view(torch.int16).numpy(), sums, counts)
    else:
        _of_float32(block.numpy(), sums, counts)
    return torch.from_numpy(sums.sum(0)), torch.from_numpy(counts.sum(0))


@parallel()
def _of_bfloat16(bits, sums, counts):  # type: ignore[no-untyped-def]
    n, m = bits.shape
    for strip in prange(len(sums)):
        wide = np.empty(m, np.int32)
        value = wide.view(np.float32)
        for i in range(strip * STRIP, min(n, (strip + 1) * STRIP)):
            for j in range(m):
                wide[j] = np.int32(bits[i, j]) << 16
            for j in range(m):
                sums[strip, j] += value[j]
                counts[strip, j] += np.int32(wide[j] > 0)


@parallel()
def _of_float32(block, sums, counts):  # type: ignore[no-untyped-def]
    n, m = block.shape
    for strip in prange(len(sums)):
        for i in range(strip * STRIP, min(n, (strip + 1) * STRIP)):
            for j in range(m):
                sums[strip, j] += block[i, j]
                counts[strip, j] += np.int32(block[i, j] > 0)
