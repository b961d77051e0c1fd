"""The length of every row, with a gradient that lies where a training finds its memory again (see ``ops.room``)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops.room import room_like


def reference(rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The same by torch."""
    return rows.norm(dim=1)


def lengths(rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The Euclidean length of every row; that of a row of zeros has the gradient 0."""
    return _Lengths.apply(rows)


class _Lengths(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        found = rows.norm(dim=1)
        ctx.save_for_backward(rows, found)
        return found

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> Tensor:
        rows, found = ctx.saved_tensors
        scale = torch.where(found > 0, arriving / found, 0)
        return torch.mul(rows, scale[:, None], out=room_like(rows))
