"""Differences from a bias and mean squares, whose results and gradients, as large as a batch, lie in ``ops.room``."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops.room import room_like


def reference_less(x: Float[Tensor, "n d"], bias: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """The same by torch."""
    return x - bias


def less(x: Float[Tensor, "n d"], bias: Float[Tensor, " d"]) -> Float[Tensor, "n d"]:
    """``x − bias``."""
    return _Less.apply(x, bias)


def reference_mean_square(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The same by torch."""
    return x.square().mean()


def mean_square(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The mean of all squares."""
    return _MeanSquare.apply(x)


class _Less(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        return torch.sub(x, bias, out=room_like(x))

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor | None, Tensor]:
        return arriving if ctx.needs_input_grad[0] else None, arriving.sum(0).neg()


class _MeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.norm(dim=1).square().sum() / x.numel()

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.mul(x, arriving * 2 / x.numel(), out=room_like(x))
