"""Squared error plus activations times decoder norms (Anthropic's April 2024 update, *Scaling Monosemanticity*).

``‖y − ŷ‖² + penalty · Σ f_i ‖d_i‖``: with the norm in the penalty, decoder norms are free, nothing is renormalised and
nothing resampled. Weights begin tied, and the penalty grows over the first twentieth.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops.responses import Outcome, Response
from monoscope.train.penalised import Penalised, relu


class Objective(Penalised):
    """``mse + l1``; see ``Penalised`` for its options."""

    defaults: ClassVar[dict[str, Any]] = {**Penalised.defaults, "decoder_norm": "free"}

    def response(self, dictionary: Dictionary) -> Response:
        """Positive scores, and the norms that they are weighed by."""
        return Response(relu, lengths=not self.unit_rows)

    def penalties(
        self, dictionary: Dictionary, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``Σ f ‖d‖``."""
        return {"l1": weight * self.felt(outcome.sums[0], outcome)}
