"""Torch as it is while nobody has told it otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def usual() -> Iterator[None]:
    """Inside, gradients are kept, nothing is rounded by autocast, and what is new is fp32 and on the CPU.

    Who reads models has often switched gradients off, or told torch to make everything bf16 or on a GPU. What a
    training computes, and what a file holds, does not depend on that.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
            for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
                stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            yield
    finally:
        torch.set_default_dtype(dtype)
