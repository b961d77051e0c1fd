"""BatchTopK (Bussmann et al. 2024): k features per row on average. In use, everything above a threshold.

Training chooses the ``k × rows`` largest scores of a whole batch, which couples its rows; that belongs to the
objective. The dictionary that comes out keeps the average in one calibrated threshold: its ``encode`` is row-wise.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary, some
from monoscope.errors import MonoscopeError
from monoscope.ops import encode
from monoscope.ops.encode import Gates
from monoscope.types import Code

CALIBRATE = (  # what to do about a threshold that was never set
    "set it on a text: monoscope convert SOURCE OUT --model MODEL --site SITE --text TEXT; or on some thousand "
    "activations: monoscope.train.calibrate.calibrate(dictionary, activations)"
)


class Architecture(Dictionary):
    """``encode(x)``: scores ``x @ w_encᵀ + b_enc`` that exceed ``threshold`` (a buffer, one number per feature)."""

    settings: ClassVar[dict[str, type]] = {"k": int}
    objective = "batch_topk"
    threshold: Tensor

    def __init__(self, d_in: int, n_features: int, d_out: int | None = None, *, k: int = 32, **options: Any) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        self.k = some(k, n_features)
        self.register_buffer("threshold", torch.zeros(n_features))

    @property
    def calibrated(self) -> bool:
        """Whether the threshold was ever set."""
        return not bool(self.threshold[0].isnan())

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """The scores above the threshold; see ``gates``."""
        return encode.above(x, *self.gates())

    def gates(self) -> Gates:
        """Scores above the threshold.

        Raises:
            MonoscopeError: the threshold was never set (NaN): the file it came from has none.
        """
        if not self.calibrated:
            raise MonoscopeError(
                "this dictionary was saved without a threshold, so nothing says which features are active",
                fix=CALIBRATE,
            )
        return Gates(self.w_enc, self.b_enc, self.threshold)

    def scale(self, s: float) -> None:
        """Thresholds are scores, so they scale too."""
        super().scale(s)
        self.threshold.mul_(s)
