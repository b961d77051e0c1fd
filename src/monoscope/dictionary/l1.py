"""ReLU codes without a pre-encoder bias: the autoencoder of Anthropic's April 2024 update ("l1" with decoder norms)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import encode
from monoscope.ops.encode import Gates
from monoscope.types import Code


class Architecture(Dictionary):
    """``encode(x) = relu(x @ w_encᵀ + b_enc)``."""

    objective = "l1"

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """All positive scores."""
        return encode.above(x, *self.gates())

    def gates(self) -> Gates:
        """Scores above 0."""
        return Gates(self.w_enc, self.b_enc, self.b_enc.new_zeros(self.n_features))
