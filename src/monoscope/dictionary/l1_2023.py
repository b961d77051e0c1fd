"""The autoencoder of *Towards Monosemanticity* (Bricken et al. 2023): ReLU codes and a pre-encoder bias."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import encode
from monoscope.ops.encode import Gates
from monoscope.types import Code


class Architecture(Dictionary):
    """``encode(x) = relu((x − b_dec) @ w_encᵀ + b_enc)``; decoder rows have unit norm.

    A transcoder cannot subtract what it decodes to, so it has no pre-encoder bias.
    """

    objective = "l1_2023"

    @property
    def centres(self) -> bool:
        """Whether ``b_dec`` is subtracted from the input."""
        return self.d_in == self.d_out and self.w_skip is None and not self.provenance.get("target")

    def encoder_bias(self) -> Float[Tensor, " n_features"]:
        """``b_enc`` with the pre-encoder bias folded in."""
        return self.b_enc - self.w_enc @ self.b_dec if self.centres else self.b_enc

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """All positive scores."""
        return encode.above(x, *self.gates())

    def gates(self) -> Gates:
        """Scores above 0."""
        return Gates(self.w_enc, self.encoder_bias(), self.b_enc.new_zeros(self.n_features))

    def shift(self, mean_in: Float[Tensor, " d_in"], mean_out: Float[Tensor, " d_out"]) -> None:
        """The pre-encoder bias takes the mean along; only a transcoder's encoder bias must."""
        if self.centres:
            self.b_dec.data.add_(mean_out)
        else:
            super().shift(mean_in, mean_out)
