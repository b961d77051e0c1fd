"""Matching pursuit (Costa et al. 2025, arXiv 2506.03093): the decoder alone says which features are active.

Features are picked one after the other, each for what the earlier ones left, so that features which often occur
together, or resemble each other, do not hide one another as they do where all are scored at once.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary._pursuing import Pursuing
from monoscope.errors import MonoscopeError
from monoscope.ops import pursuit
from monoscope.types import Code


class Architecture(Pursuing):
    """``encode(x)``: k steps of pursuit of ``x − b_dec`` by the unit rows of ``w_dec``; at most k features a row.

    A row may end sooner: with ``enough``, where what is left is shorter than that, in units of ``x`` (of normalised
    rows during a training, and with ``row_norm``); with ``once``, where a feature is picked again. ``untied``, it is
    ``x − b_in`` that is pursued by the rows of ``w_enc``.
    """

    settings: ClassVar[dict[str, type]] = {**Pursuing.settings, "enough": float, "once": bool}
    objective = "matching_pursuit"

    def __init__(
        self,
        d_in: int,
        n_features: int,
        d_out: int | None = None,
        *,
        enough: float = 0.0,
        once: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        if not (enough >= 0 and math.isfinite(enough)):
            raise MonoscopeError(f"enough is {enough}", fix="it is a length: 0, or more")
        self.enough, self.once = float(enough), bool(once)

    def pursue(self, x: Float[Tensor, "n d_in"]) -> pursuit.Pursuit:
        """The pursuit of rows from which ``middle`` has been taken off."""
        return pursuit.pursue(x, self.atoms, self.k, self.enough, self.once)

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """What k steps pick, and how much of it."""
        return self.measured(self.pursue(x - self.middle.detach()).code(self.n_features))

    def stretch(self, s: float) -> None:
        """``enough`` is a length."""
        self.enough *= s
