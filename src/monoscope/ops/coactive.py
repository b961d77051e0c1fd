"""How often two features are active in the same row, and how alike those are that meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from monoscope.ops.kernels import inner, parallel
from monoscope.ops.nearest import dot
from monoscope.ops.room import room, room_like
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code

BLOCK = 256  # features whose pairs with all others are looked at together, on a CPU
DEARER = 5  # times as long one pair takes by itself as one of a block
CHUNK = 32  # features that one thread takes at a time


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

    On a CPU the gradient is made in passing, and matrices of all pairs never are. Where few features meet, as of many
    features in few rows, only those that do are looked at, else a block of features with all others.

    Args:
        w: a row per feature.
        code: which features each row uses.
        by: ``transpose(code)``.
    """
    if w.device.type != "cpu":
        return reference_overlap(w, code, by)
    meetings = int(code.counts().square().sum())
    few = w.dtype == torch.float32 and DEARER * meetings < len(w) ** 2
    return _Overlap.apply(w, code, by, _by_pair if few else _by_block)


def _by_block(w: Tensor, code: Code, by: ByFeature, slope: Tensor) -> float:
    """Twice the overlap; ``slope`` receives half its gradient."""
    total = 0.0
    for first in range(0, len(w), BLOCK):
        last = min(len(w), first + BLOCK)
        alike = torch.mm(w[first:last], w.T, out=room(last - first, len(w), dtype=w.dtype)).relu_()
        pulls = coactive(code, by, first, last).to(w).mul_(alike)
        total += float(torch.dot(pulls.flatten(), alike.flatten()))
        torch.mm(pulls, w, out=slope[first:last])
    return total


def _by_pair(w: Tensor, code: Code, by: ByFeature, slope: Tensor) -> float:
    """The same of every feature and those that it meets."""
    totals = np.zeros(len(w))
    places = (t.numpy() for t in (code.indices, code.offsets, by.offsets, by.rows))
    _meet_all(*places, w.detach().contiguous().numpy(), slope.numpy(), totals)
    return float(totals.sum())


class _Overlap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, w: Tensor, code: Code, by: ByFeature, way: Callable[..., float]) -> Tensor:
        slope = room_like(w)
        total = way(w, code, by, slope)
        ctx.save_for_backward(slope)
        return w.new_tensor(total / 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        pulled = torch.mul(slope, 2 * grads[0], out=room_like(slope))  # of a pair both features are
        return pulled, None, None, None


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


@inner(fastmath={"contract", "reassoc"})
def _meet(f, indices, offsets, owned, rows, w, slope, counts, others):  # type: ignore[no-untyped-def]
    """Of one feature; ``counts`` are all 0 before and after."""
    met, total = 0, 0.0
    for e in range(owned[f], owned[f + 1]):
        for other in indices[offsets[rows[e]] : offsets[rows[e] + 1]]:
            if counts[other] == 0:
                others[met] = other
                met += 1
            counts[other] += 1
    slope[:] = 0
    for i in range(met):
        other = others[i]
        alike = dot(w[f], w[other])
        if other != f and alike > 0:
            pull = np.float32(counts[other]) * alike
            total += pull * alike
            for j in range(len(slope)):
                slope[j] += pull * w[other, j]
        counts[other] = 0
    return total


@inner
def _meet_some(first, last, indices, offsets, owned, rows, w, slopes, totals):  # type: ignore[no-untyped-def]
    counts, others = np.zeros(len(w), np.int32), np.empty(len(w), np.int32)
    for f in range(first, last):
        totals[f] = _meet(f, indices, offsets, owned, rows, w, slopes[f], counts, others)


@parallel()
def _meet_all(indices, offsets, owned, rows, w, slopes, totals):  # type: ignore[no-untyped-def]
    for chunk in prange((len(w) + CHUNK - 1) // CHUNK):
        some = (chunk * CHUNK, min(len(w), (chunk + 1) * CHUNK))
        _meet_some(*some, indices, offsets, owned, rows, w, slopes, totals)
