"""What can be evaluated: anything that writes an activation as a few numbers and reads it back."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from monoscope.types import Code


class Reconstructor(Protocol):
    """A dictionary, or a control that stands where one would: principal components, raw neurons.

    A transcoder reconstructs the rows of another site than it reads, ``d_out`` wide.
    """

    @property
    def n_features(self) -> int:
        """How many features a code chooses from."""
        ...

    def encode(self, x: Float[Tensor, "n d_in"]) -> Code:
        """The code of each row."""
        ...

    def decode(self, code: Code, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """The reconstruction of each row; ``x`` are the rows that were encoded, where more than their code counts."""
        ...
