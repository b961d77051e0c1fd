"""How often two features are active in the same row, and how alike those are that meet."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from monoscope.ops.kernels import parallel
from monoscope.ops.room import room, room_like
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code

BLOCK = 256  # features whose pairs with all others are looked at together, on a CPU


def reference(code: Code) -> Float[Tensor, "n_features n_features"]:
    """From the dense code."""
    active = (code.to_dense() != 0).float()
    return (active.T @ active).fill_diagonal_(0)


def coactive(
    code: Code, by: ByFeature, first: int = 0, last: int | None = None
) -> Float[Tensor, "n_chosen n_features"]:
    """The number of rows in which both features of a pair are active; 0 for a feature with itself.

    Args:
        code: any code.
        by: ``transpose(code)``.
        first, last: pairs of the features from ``first`` up to ``last``, each a row, with all features.
    """
    last = code.n_features if last is None else last
    if code.indices.device.type != "cpu":
        return reference(code)[first:last]
    out = room(last - first, code.n_features)
    _count(code.indices.numpy(), code.offsets.numpy(), by.offsets.numpy(), by.rows.numpy(), first, out.numpy())
    return out


def reference_overlap(w: Float[Tensor, "n_features d"], code: Code, by: ByFeature) -> Float[Tensor, ""]:
    """The same from whole matrices, for autograd."""
    return (coactive(code, by) * torch.relu(w @ w.T).square()).sum() / 2


def overlap(w: Float[Tensor, "n_features d"], code: Code, by: ByFeature) -> Float[Tensor, ""]:
    """``Σ relu(w_i · w_j)²`` over rows and the pairs of features that are active in them; differentiable in ``w``.

    On a CPU a block of features at a time, and the gradient in passing: matrices of all pairs are never made.

    Args:
        w: a row per feature.
        code: which features each row uses.
        by: ``transpose(code)``.
    """
    if w.device.type != "cpu":
        return reference_overlap(w, code, by)
    return _Overlap.apply(w, code, by)


class _Overlap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, code: Code, by: ByFeature) -> Tensor:
        total, slope = 0.0, room_like(w)
        for first in range(0, len(w), BLOCK):
            last = min(len(w), first + BLOCK)
            alike = torch.mm(w[first:last], w.T, out=room(last - first, len(w), dtype=w.dtype)).relu_()
            pulls = coactive(code, by, first, last).to(w).mul_(alike)
            total += float(torch.dot(pulls.flatten(), alike.flatten()))
            torch.mm(pulls, w, out=slope[first:last])
        ctx.save_for_backward(slope)
        return w.new_tensor(total / 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return torch.mul(slope, 2 * grads[0], out=room_like(slope)), None, None  # of a pair both features are pulled


@parallel()
def _count(indices, offsets, owned, rows, first, out):  # type: ignore[no-untyped-def]
    for i in prange(len(out)):
        f = first + i
        for j in range(out.shape[1]):
            out[i, j] = 0
        for e in range(owned[f], owned[f + 1]):
            for other in indices[offsets[rows[e]] : offsets[rows[e] + 1]]:
                out[i, other] += 1
        out[i, f] = 0
