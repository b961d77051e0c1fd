"""Inner products of rows with one direction, whose gradient lies where a training finds its memory (``ops.room``)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops.room import room_like


def reference(rows: Float[Tensor, "n d"], direction: Float[Tensor, " d"]) -> Float[Tensor, " n"]:
    """The same by torch."""
    return rows @ direction


def along(rows: Float[Tensor, "n d"], direction: Float[Tensor, " d"]) -> Float[Tensor, " n"]:
    """``rows @ direction``."""
    return _Along.apply(rows, direction)


class _Along(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, direction: Tensor) -> Tensor:
        ctx.save_for_backward(rows, direction)
        return rows @ direction

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, Tensor]:
        rows, direction = ctx.saved_tensors
        return torch.mul(arriving[:, None], direction, out=room_like(rows)), rows.T @ arriving
