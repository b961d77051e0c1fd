"""Non-negative pursuit: the decoder alone says which features are active, and how strongly, all of them together.

As in matching pursuit there is no encoder that has to learn what the decoder knows. Unlike there, all active values are
fitted jointly and stay positive, and a row has as many active features as it needs: pursuit ends where no feature would
take off more than ``floor``. A ``floor`` of the dictionary, not of a batch, so ``encode`` is row-wise; training sets
it such that k features a row are active on average.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary._pursuing import Pursuing
from monoscope.ops import nonnegative
from monoscope.types import Code

MOST = 8  # active features of a row, at most, in units of k


class Architecture(Pursuing):
    """``encode(x)``: non-negative pursuit of ``x − b_dec`` by the rows of ``w_dec`` down to ``floor`` (a buffer).

    ``untied``, it is ``x − b_in`` that is pursued, by the rows of ``w_enc``.
    """

    objective = "nonnegative_pursuit"
    floor: Tensor

    def __init__(self, d_in: int, n_features: int, d_out: int | None = None, **options: Any) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        self.register_buffer("floor", torch.zeros(()))

    def pursue(self, x: Float[Tensor, "n d_in"]) -> nonnegative.Found:
        """The pursuit of rows from which ``middle`` has been taken off."""
        return nonnegative.pursue(x, self.atoms, float(self.floor), min(self.n_features, MOST * self.k))

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """What the pursuit picks, and how much of it."""
        return self.measured(self.pursue(x - self.middle.detach()).code(self.n_features))

    def stretch(self, s: float) -> None:
        """``floor`` is a length."""
        self.floor.mul_(s)
