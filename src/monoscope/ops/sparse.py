"""Differentiable encoding and decoding on codes: exact gradients of what was chosen, nothing dense.

``active`` gives the chosen scores a gradient towards the encoder, ``decode`` gives the reconstruction a gradient
towards values and decoder. Between them an objective may do to the values what it likes.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops import weighted_rows
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code


class _Active(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, code: Code, by: ByFeature) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.code, ctx.by = code, by
        return code.values.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        code, by, grad = ctx.code, ctx.by, grads[0].contiguous()
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        at = Code(code.indices, grad, code.offsets, code.n_features)
        return (
            weighted_rows.gather(at, weight) if wants_x else None,
            weighted_rows.scatter(by, grad, x) if wants_weight else None,
            weighted_rows.sums(by, grad) if wants_bias else None,
            None,
            None,
        )


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, code: Code, by: ByFeature) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.code, ctx.by = code, by
        return weighted_rows.gather(Code(code.indices, values, code.offsets, code.n_features), weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        values, weight = ctx.saved_tensors
        grad = grads[0].contiguous()
        wants_values, wants_weight = ctx.needs_input_grad[:2]
        return (
            weighted_rows.dots(ctx.code, grad, weight) if wants_values else None,
            weighted_rows.scatter(ctx.by, values, grad) if wants_weight else None,
            None,
            None,
        )


def active(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"],
    code: Code, by: ByFeature,
) -> Float[Tensor, " n_active"]:  # fmt: skip
    """``code.values``, with the gradient of ``x @ weightᵀ + bias`` at the code's places.

    Args:
        code: what was chosen, and its scores.
        by: ``transpose(code)``.
    """
    return _Active.apply(x, weight, bias, code, by)


def decode(
    values: Float[Tensor, " n_active"], weight: Float[Tensor, "n_features d"], code: Code, by: ByFeature
) -> Float[Tensor, "n d"]:
    """``dense(code with values) @ weight``, differentiable in ``values`` and ``weight``."""
    return _Decode.apply(values, weight, code, by)
