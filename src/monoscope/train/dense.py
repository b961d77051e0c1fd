"""A penalty on features that are active on too many rows, for every method with an encoder.

*Gemma Scope 2* (2025) penalises how often features are active, through the gradient that JumpReLU's thresholds have.
Here nothing is asked of the method: a feature that is active on a larger share φ of a batch's rows than ``above`` has
an L1 penalty of its own, ``(φ / above − 1) · Σ f ‖d‖`` over the rows, in which φ has no gradient. Weaker scores are
selected, and exceed thresholds, less often; features that are rarer are not touched.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import sparse
from monoscope.ops.responses import Outcome, Response
from monoscope.ops.transpose import ByFeature, transpose
from monoscope.types import Code


def excess(counts: Int[Tensor, " n_features"], n_rows: int, above: float) -> Float[Tensor, " n_features"]:
    """By how much of ``above`` the share of rows on which each feature is active exceeds it; 0 if it does not."""
    return (counts.detach() / (n_rows * above) - 1).clamp_min(0)


def of_selection(
    dictionary: Dictionary, x: Float[Tensor, "n d_in"], code: Code, by: ByFeature, above: float
) -> Float[Tensor, ""]:
    """The penalty on what was selected, summed over rows; gradients reach the encoder and the decoder's lengths."""
    weight = excess(by.offsets.diff(), len(code), above)
    features = weight.nonzero()[:, 0]
    if len(features) == 0:
        return x.new_zeros(())
    part = _only(code, weight > 0)
    values = sparse.active(x, dictionary.w_enc, dictionary.b_enc, part, transpose(part))
    sums = values.new_zeros(code.n_features).index_add(0, part.indices.long(), values)
    return (weight * sums)[features] @ dictionary.w_dec[features].norm(dim=1)


def _only(code: Code, wanted: Tensor) -> Code:
    """The entries of a code whose features are wanted."""
    chosen = wanted[code.indices.long()]
    before = torch.cat([chosen.new_zeros(1, dtype=torch.long), chosen.cumsum(0)])
    return Code(code.indices[chosen], code.values[chosen], before[code.offsets], code.n_features)


def counting(response: Response) -> Response:
    """The same response, with one more measure after its own: 1 where the feature is active, without gradient."""

    def apply(*numbers: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        amounts, measures = response.apply(*numbers)
        return amounts, (*measures, amounts[0].detach().sign())

    return Response(apply, response.parameters, response.floor, lengths=True)


def of_outcome(
    outcome: Outcome, activity: Float[Tensor, " n_features"], n_rows: int, above: float
) -> Float[Tensor, ""]:
    """The penalty on what a response was counted of (``counting``), summed over rows.

    Args:
        activity: of each feature, summed over rows, what the penalty makes smaller.
    """
    return (excess(outcome.totals[-1], n_rows, above) * activity) @ outcome.lengths
