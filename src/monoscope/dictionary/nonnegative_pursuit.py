"""Non-negative pursuit: the decoder alone says which features are active, and how strongly, all of them together.

As in matching pursuit there is no encoder that has to learn what the decoder knows. Unlike there, all active values are
fitted jointly and stay positive, and a row has as many active features as it needs: pursuit ends where no feature would
take off more than ``floor``. A ``floor`` of the dictionary, not of a batch, so ``encode`` is row-wise; training sets
it such that k features a row are active on average.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import nonnegative
from monoscope.types import Code

MOST = 8  # active features of a row, at most, in units of k


class Architecture(Dictionary):
    """``encode(x)``: non-negative pursuit of ``x − b_dec`` by the rows of ``w_dec`` down to ``floor`` (a buffer)."""

    settings: ClassVar[dict[str, type]] = {"k": int}
    own_encoder: ClassVar[bool] = False
    objective = "nonnegative_pursuit"
    floor: Tensor

    def __init__(self, d_in: int, n_features: int, d_out: int | None = None, *, k: int = 32, **options: Any) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        if not 1 <= k <= n_features:
            raise MonoscopeError(
                f"k = {k} with {n_features} features", fix="choose k between 1 and the number of features"
            )
        self.k = int(k)
        self.register_buffer("floor", torch.zeros(()))

    def pursue(self, x: Float[Tensor, "n d_in"]) -> nonnegative.Found:
        """The pursuit of rows from which ``b_dec`` has been taken off."""
        return nonnegative.pursue(x, self.w_dec, float(self.floor), min(self.n_features, MOST * self.k))

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """What the pursuit picks, and how much of it."""
        return self.pursue(x - self.b_dec.detach()).code(self.n_features)

    def scale(self, s: float) -> None:
        """Pursuit is homogeneous."""
        with torch.no_grad():
            self.b_dec.mul_(s)
            self.floor.mul_(s)

    def shift(self, mean_in: Float[Tensor, " d_in"], mean_out: Float[Tensor, " d_out"]) -> None:
        """What is taken off before the pursuit is what is added after it."""
        with torch.no_grad():
            self.b_dec.add_(mean_out)
