"""Devices: which are there, and which form of an operation a call takes.

Where a call's tensors lie says which form it takes, and nothing else does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from monoscope.errors import MonoscopeError

KERNELS_READ = (torch.float32, torch.bfloat16)


def on_cuda(*tensors: Tensor) -> bool:
    """Whether all of these lie on a CUDA device and hold numbers that the Triton kernels read: fp32 or bf16."""
    return all(t.device.type == "cuda" and t.dtype in KERNELS_READ for t in tensors)


def find(name: str | torch.device) -> torch.device:
    """The device of this name, such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        MonoscopeError: it is not there, or holds no numbers.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MonoscopeError(f"the device {str(name)!r} is not there: {reason}", fix="use cpu") from error
    return device
