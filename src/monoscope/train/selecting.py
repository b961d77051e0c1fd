"""What methods that select share: reconstruction through the selected features alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import reconstruct
from monoscope.ops.transpose import transpose
from monoscope.train.descent import Descent
from monoscope.train.options import COUNT, NOT_NEGATIVE, POSITIVE, PRECISION, SHARE, Allowed
from monoscope.types import Code


class SparseReconstruction(Descent):
    """Mean squared error through a selection of features, plus AuxK: what TopK and BatchTopK share.

    The selection may begin wide: k falls in a line from ``k_start`` times its value to its value, which it has from
    the share ``k_until`` of the tokens on. Features that would never be among the first k so learn something first.

    Options beyond ``Descent``'s: the encoder begins at ``encoder_scale`` times the decoder.
    """

    defaults: ClassVar[dict[str, Any]] = {
        **Descent.defaults,
        "auxk": 1 / 32,
        "dead_after": 0,
        "precision": None,
        "k_start": 1.0,
        "k_until": 0.7,
        "encoder_scale": 0.5,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        **Descent.allowed,
        "auxk": NOT_NEGATIVE,
        "dead_after": COUNT,
        "precision": PRECISION,
        "k_start": POSITIVE,
        "k_until": SHARE,
        "encoder_scale": POSITIVE,
    }
    progress = 1.0  # share of tokens done, as of the newest step

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As every objective, the encoder scaled."""
        super().initialise(dictionary, x, y)
        dictionary.w_enc.data.mul_(self.options["encoder_scale"])

    @abstractmethod
    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """Which features each row of a training batch uses, and their scores."""

    def k(self, dictionary: Dictionary) -> int:
        """How many features a row are selected now."""
        final = int(dictionary.options()["k"])
        until = float(self.options["k_until"])
        left = max(0.0, 1 - self.progress / until) if until else 0.0
        return min(dictionary.n_features, round(final * (1 + (self.options["k_start"] - 1) * left)))

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``: squared error per number; ``auxk``: weighted by the option of that name."""
        self.progress = progress
        code = self.select(dictionary, x)
        by = transpose(code)
        weights = (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec, dictionary.b_dec)
        mse, left = reconstruct.squared_error(x, y, weights, code, by)
        self.silence.hear(len(code), by.offsets.diff() > 0)
        self.l0 = len(code.indices) / len(code)
        terms = {"mse": mse}
        if self.options["auxk"]:
            terms["auxk"] = self.options["auxk"] * self.unexplained(dictionary, x, left)
        return terms
