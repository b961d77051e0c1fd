"""The error of a code that is decoded in stages: by the first stage's entries, by those of the first two, and so on.

Every entry is decoded once, however many stages there are: a row's residual after one stage is where the next begins.
With ``r_s`` the residual after stage s, an entry of stage s takes part in every error from s on. So the gradients of
Σ ‖r_s‖² are products with ``t_s = Σ_{m ≥ s} r_m``: ``−2 w·t_s`` for its value v, ``−2 v t_s`` for its feature's row w,
and ``2 t_0`` for the target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from torch import Tensor

from monoscope.ops import devices
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.room import room, room_like
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code

SPACE = 1 << 20  # numbers in a block of residuals


def reference(
    y: Float[Tensor, "n d"],
    values: Float[Tensor, " n_active"],
    weight: Float[Tensor, "n_features d"],
    code: Code,
    stages: Int[Tensor, " n_active"],
    n_stages: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d"]]:
    """The same, one stage after the other, for autograd."""
    left, total, rows = y, y.new_zeros(()), code.rows()
    for stage in range(n_stages):
        at = stages == stage
        left = left.index_add(0, rows[at], -values[at, None] * weight[code.indices[at].long()])
        total = total + left.square().sum()
    return total, left.detach()


def squared(
    y: Float[Tensor, "n d"],
    values: Float[Tensor, " n_active"],
    weight: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " d"],
    code: Code,
    by: ByFeature,
    stages: Int[Tensor, " n_active"],
    n_stages: int,
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d"]]:
    """The squared errors of all stages, added up, and what the last stage leaves of ``y`` (without a gradient).

    Args:
        y: what is reconstructed; differentiable, like ``values``, ``weight`` and ``bias``.
        values: the entries' values; ``code``'s own are not looked at.
        weight: a row per feature.
        bias: what every reconstruction begins with.
        code: which features each row uses.
        by: ``transpose(code)``.
        stages: the stage of each entry, from 0.
        n_stages: how many there are. On a CPU the gradient is made in passing, a block of rows at a time; elsewhere
            that many times the memory of ``y`` is in use until the backward pass.
    """
    if devices.on_cuda(y, values, weight):
        from monoscope.ops.triton_kernels import nested

        return nested.squared(y - bias, values, weight, code, by, stages, n_stages)
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (y, values, weight)):
        return reference(y - bias, values, weight, code, stages, n_stages)
    total, left = _Squared.apply(y, values, weight, bias, code, by, stages.int(), n_stages)
    return total, left


class _Squared(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, values: Tensor, weight: Tensor, bias: Tensor, code: Code, by: ByFeature, stages: Tensor,
        n_stages: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        wants_y, _, wants_weight, _ = ctx.needs_input_grad[:4]
        (n, d), owned = y.shape, by.offsets.numpy()
        left, slopes, errors = room_like(y), room_like(values), np.zeros(n, np.float64)
        towards_y = room_like(y) if wants_y else None
        towards, shift = room_like(weight).zero_() if wants_weight else None, torch.zeros(d, dtype=torch.float64)
        reached = owned[:-1].copy()  # of each feature's entries, which is the first of the rows that are to come
        size = max(1, SPACE // max(1, n_stages * d))
        room_of_sums = room(min(n, size), n_stages, d)
        held = [t.contiguous().numpy() for t in (y, values, weight, bias)]
        for first in range(0, n, size):
            last = min(n, first + size)
            sums = room_of_sums[: last - first]
            _stages(
                first, last, *held, code.indices.numpy(), code.offsets.numpy(), stages.numpy(), sums.numpy(),
                slopes.numpy(), errors,
            )  # fmt: skip
            left[first:last] = sums[:, -1]
            shift += sums[:, 0].sum(0)
            if towards_y is not None:
                towards_y[first:last] = sums[:, 0]
            if towards is not None:
                _scatter(
                    first, last, reached, owned, by.rows.numpy(), by.entries.numpy(), held[1], stages.numpy(),
                    sums.numpy(), towards.numpy(),
                )  # fmt: skip
        ctx.save_for_backward(towards_y, slopes, towards, shift.float())
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)  # of what is left there is none: no batch of zeros in its place
        return torch.tensor(errors.sum(), dtype=torch.float32), left

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        towards_y, *others = ctx.saved_tensors
        twice = 2 * grads[0]
        y = None if towards_y is None else torch.mul(towards_y, twice, out=room_like(towards_y))
        wanted = [None if each is None else torch.mul(each, -twice, out=room_like(each)) for each in others]
        return y, *wanted, None, None, None, None


def reference_ranks(code: Code) -> Int[Tensor, " n_active"]:
    """The same by two stable sorts."""
    order = torch.argsort(code.values, descending=True, stable=True)
    rows = code.rows()
    order = order[torch.argsort(rows[order], stable=True)]
    ranks = torch.empty_like(rows)
    ranks[order] = torch.arange(len(rows), device=rows.device) - code.offsets[rows[order]]
    return ranks


def ranks(code: Code) -> Int[Tensor, " n_active"]:
    """The place of each entry among its row's entries, the largest value first; ties in the order they are in."""
    if code.values.device.type != "cpu":
        return reference_ranks(code)
    out = np.empty(len(code.values), np.int64)
    _ranks(code.values.numpy(), code.offsets.numpy(), out)
    return torch.from_numpy(out)


@parallel()
def _ranks(values, offsets, out):  # type: ignore[no-untyped-def]
    for i in prange(len(offsets) - 1):
        for e in range(offsets[i], offsets[i + 1]):
            before = 0
            for other in range(offsets[i], offsets[i + 1]):
                before += values[other] > values[e] or (values[other] == values[e] and other < e)
            out[e] = before


@inner(fastmath={"contract", "reassoc"})
def _stages_of_row(first, last, y, values, weight, bias, indices, stages, sums, slopes):  # type: ignore[no-untyped-def]
    n_stages, d = sums.shape
    error = 0.0
    for stage in range(n_stages):
        left = sums[stage]
        for j in range(d):
            left[j] = y[j] - bias[j] if stage == 0 else sums[stage - 1, j]
        for e in range(first, last):
            if stages[e] == stage:
                f, v = indices[e], values[e]
                for j in range(d):
                    left[j] -= v * weight[f, j]
        square = np.float32(0)
        for j in range(d):
            square += left[j] * left[j]
        error += float(square)
    for back in range(1, n_stages):
        stage = n_stages - 1 - back
        for j in range(d):
            sums[stage, j] += sums[stage + 1, j]
    for e in range(first, last):
        slope = np.float32(0)
        for j in range(d):
            slope += sums[stages[e], j] * weight[indices[e], j]
        slopes[e] = slope
    return error


@parallel()
def _stages(first, last, y, values, weight, bias, indices, offsets, stages, sums, slopes, errors):  # type: ignore[no-untyped-def]
    for i in prange(last - first):
        row = first + i
        entries = (offsets[row], offsets[row + 1])
        errors[row] = _stages_of_row(*entries, y[row], values, weight, bias, indices, stages, sums[i], slopes)


@inner(fastmath={"contract"})
def _add(first, e, end, last, rows, entries, values, stages, sums, out):  # type: ignore[no-untyped-def]
    """Add up a feature's entries from ``e`` on as long as their row comes before ``last``; returns where that ends."""
    while e < end and rows[e] < last:
        entry = entries[e]
        v, left = values[entry], sums[rows[e] - first, stages[entry]]
        for j in range(len(out)):
            out[j] += v * left[j]
        e += 1
    return e


@parallel()
def _scatter(first, last, reached, owned, rows, entries, values, stages, sums, out):  # type: ignore[no-untyped-def]
    for f in prange(len(out)):
        reached[f] = _add(first, reached[f], owned[f + 1], last, rows, entries, values, stages, sums, out[f])
