"""Matching pursuit (Costa et al. 2025, arXiv 2506.03093): the decoder alone says which features are active.

Features are picked one after the other, each for what the earlier ones left, so that features which often occur
together, or resemble each other, do not hide one another as they do where all are scored at once.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import pursuit
from monoscope.types import Code


class Architecture(Dictionary):
    """``encode(x)``: k steps of pursuit of ``x − b_dec`` by the unit rows of ``w_dec``; at most k features a row.

    A row may end sooner: with ``enough``, where what is left is shorter than that, in units of ``x`` (of normalised
    rows during a training, and with ``row_norm``); with ``once``, where a feature is picked again.
    """

    settings: ClassVar[dict[str, type]] = {"k": int, "enough": float, "once": bool}
    own_encoder: ClassVar[bool] = False
    objective = "matching_pursuit"

    def __init__(
        self,
        d_in: int,
        n_features: int,
        d_out: int | None = None,
        *,
        k: int = 32,
        enough: float = 0.0,
        once: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        if not 1 <= k <= n_features:
            raise MonoscopeError(
                f"k = {k} with {n_features} features", fix="choose k between 1 and the number of features"
            )
        if not (enough >= 0 and math.isfinite(enough)):
            raise MonoscopeError(f"enough is {enough}", fix="it is a length: 0, or more")
        self.k, self.enough, self.once = int(k), float(enough), bool(once)

    def pursue(self, x: Float[Tensor, "n d_in"]) -> pursuit.Pursuit:
        """The pursuit of rows from which ``b_dec`` has been taken off."""
        return pursuit.pursue(x, self.w_dec, self.k, self.enough, self.once)

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """What k steps pick, and how much of it."""
        return self.pursue(x - self.b_dec.detach()).code(self.n_features)

    def scale(self, s: float) -> None:
        """Pursuit is homogeneous."""
        with torch.no_grad():
            self.b_dec.mul_(s)
        self.enough *= s

    def shift(self, mean_in: Float[Tensor, " d_in"], mean_out: Float[Tensor, " d_out"]) -> None:
        """What is taken off before the pursuit is what is added after it."""
        with torch.no_grad():
            self.b_dec.add_(mean_out)
