"""A training step's heart: the squared error of a reconstruction by chosen features, with exact sparse gradients.

One pass over the rows makes the residual and each entry's inner product of residual and direction, which its gradient
is made of (``residual``); one pass over the features makes each weight matrix's gradient (``weighted_rows``).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops import devices, residual, sparse, weighted_rows
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code

Weights = tuple[
    Float[Tensor, "n_features d_in"],
    Float[Tensor, " n_features"],
    Float[Tensor, "n_features d_out"],
    Float[Tensor, " d_out"],
]  # w_enc, b_enc, w_dec, b_dec


def reference(
    x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], weights: Weights, code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_out"]]:
    """The same from the separate operations of ``sparse``."""
    w_enc, b_enc, w_dec, b_dec = weights
    values = sparse.active(x, w_enc, b_enc, code, by)
    left = y - sparse.decode(values, w_dec, code, by) - b_dec
    return left.square().mean(), left.detach()


def squared_error(
    x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], weights: Weights, code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_out"]]:
    """The mean over numbers of ``(y − x̂)²`` with ``x̂ = code @ w_dec + b_dec``, and the residual ``y − x̂``, detached.

    The error's gradient reaches ``y`` and all four weights: the chosen scores have that of ``x @ w_encᵀ + b_enc``.

    Args:
        x, y: what the scores are of, and what is reconstructed.
        weights: ``w_enc, b_enc, w_dec, b_dec``.
        code: what was chosen, and its scores.
        by: ``transpose(code)``.
    """
    if devices.on_cuda(x, y, *weights):
        from monoscope.ops.triton_kernels import reconstruct

        return reconstruct.squared_error(x, y, weights, code, by)
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (x, y, *weights)):
        return reference(x, y, weights, code, by)
    error, left = _SquaredError.apply(x, y, *weights, code, by)
    return error, left


def reference_decoding_error(
    y: Float[Tensor, "n d"], w: Float[Tensor, "n_features d"], bias: Float[Tensor, " d"], code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d"]]:
    """The same from the separate operations of ``sparse``."""
    left = y - sparse.decode(code.values, w, code, by) - bias
    return left.square().mean(), left.detach()


def decoding_error(
    y: Float[Tensor, "n d"], w: Float[Tensor, "n_features d"], bias: Float[Tensor, " d"], code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d"]]:
    """``squared_error`` of a code whose values come from elsewhere: the gradient reaches ``y``, ``w`` and ``bias``, and
    ``code.values`` where these want one; else they are held fast.
    """
    if any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (y, w, bias, code.values)):
        return reference_decoding_error(y, w, bias, code, by)
    error, left = _DecodingError.apply(y, w, bias, code.values, code, by)
    return error, left


class _DecodingError(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, w: Tensor, bias: Tensor, values: Tensor, code: Code, by: ByFeature
    ) -> tuple[Tensor, Tensor]:
        found = residual.residual(code, values, w, bias, y)
        ctx.save_for_backward(found.left, values, *([found.slopes] if ctx.needs_input_grad[3] else []))
        ctx.by = by
        ctx.mark_non_differentiable(found.left)
        ctx.set_materialize_grads(False)
        return (found.error / y.numel()).float(), found.left

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, values, *slopes = ctx.saved_tensors
        scale = float(grads[0]) * -2 / left.numel()
        towards_y = left * -scale if ctx.needs_input_grad[0] else None
        pulls = slopes[0] * scale if slopes else None
        return towards_y, weighted_rows.scatter(ctx.by, values * scale, left), left.sum(0) * scale, pulls, None, None


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        w_enc: Tensor,
        b_enc: Tensor,
        w_dec: Tensor,
        b_dec: Tensor,
        code: Code,
        by: ByFeature,
    ) -> tuple[Tensor, Tensor]:
        found = residual.residual(code, code.values, w_dec, b_dec, y)
        ctx.save_for_backward(x, found.left, found.slopes)
        ctx.code, ctx.by = code, by
        ctx.mark_non_differentiable(found.left)
        ctx.set_materialize_grads(False)  # of what is left there is none: no batch of zeros in its place
        return (found.error / y.numel()).float(), found.left

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, left, slopes = ctx.saved_tensors
        code, by, scale = ctx.code, ctx.by, float(grads[0]) * -2 / left.numel()
        pulls, pushes = slopes * scale, code.values * scale
        wants = ctx.needs_input_grad[2:6]
        enc = weighted_rows.scatter(by, pulls, x) if wants[0] else None
        dec = weighted_rows.scatter(by, pushes, left) if wants[2] else None
        b_enc = weighted_rows.sums(by, pulls) if wants[1] else None
        b_dec = left.sum(0) * scale if wants[3] else None
        towards_y = left * -scale if ctx.needs_input_grad[1] else None
        return None, towards_y, enc, b_enc, dec, b_dec, None, None
