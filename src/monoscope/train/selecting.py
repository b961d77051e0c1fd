"""What methods that select share: reconstruction through the selected features alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import reconstruct
from monoscope.ops.transpose import ByFeature, transpose
from monoscope.train import dense
from monoscope.train.descent import Descent
from monoscope.train.objective import Objective
from monoscope.train.options import COUNT, NOT_NEGATIVE, POSITIVE, PRECISION, SHARE, SOME, Allowed
from monoscope.train.schedules import falling
from monoscope.types import Code

ENCODER_SCALE = 0.5  # of the encoder's beginning, in units of the decoder


def through(
    goal: Objective, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], code: Code
) -> dict[str, Float[Tensor, ""]]:
    """``mse``: squared error per number through the entries of ``code`` alone; and what ``further`` adds.

    ``goal``, whose terms these are, hears which features fired, and the L0.
    """
    by = transpose(code)
    weights = (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec, dictionary.b_dec)
    mse, left = reconstruct.squared_error(x, y, weights, code, by)
    goal.silence.hear(len(code), by.offsets.diff() > 0)
    goal.l0 = len(code.indices) / len(code)
    return {"mse": mse, **further(goal, dictionary, x, left, code, by)}


def further(
    goal: Objective, dictionary: Dictionary, x: Float[Tensor, "n d_in"], left: Float[Tensor, "n d_out"],
    code: Code, by: ByFeature,
) -> dict[str, Float[Tensor, ""]]:  # fmt: skip
    """``auxk`` and ``dense``, where these options give them a weight; ``left`` is what ``code`` leaves over."""
    goal.left_over(left)
    terms = {}
    if goal.options["auxk"]:
        terms["auxk"] = goal.options["auxk"] * goal.unexplained(dictionary, x, left)
    if weight := goal.options["dense_penalty"]:
        too_dense = dense.of_selection(dictionary, x, code, by, goal.options["dense_above"])
        terms["dense"] = weight * too_dense / left.numel()
    return terms


class SparseReconstruction(Descent):
    """Mean squared error through a selection of features, plus AuxK: what TopK and BatchTopK share.

    The selection may begin wide: k falls in a line from ``k_start`` times its value to its value, which it has from
    the share ``k_until`` of the tokens on. Features that would never be among the first k so learn something first.

    Options beyond ``Descent``'s: ``auxk``, the weight of AuxK, of features silent for ``dead_after`` tokens (0: see
    ``schedules.usual_silence``), of which a row uses ``auxk_features``, by default half as many as the output is wide;
    ``precision``. ``encoder_scale`` is by default a half.
    """

    defaults: ClassVar[dict[str, Any]] = {
        **Descent.defaults,
        "auxk": 1 / 32,
        "dead_after": 0,
        "auxk_features": None,
        "precision": None,
        "k_start": 1.0,
        "k_until": 0.7,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        **Descent.allowed,
        "auxk": NOT_NEGATIVE,
        "dead_after": COUNT,
        "auxk_features": SOME,
        "precision": PRECISION,
        "k_start": POSITIVE,
        "k_until": SHARE,
    }
    newborn: ClassVar[float] = 1.0  # weaker ones would never be selected
    progress = 1.0  # share of tokens done, as of the newest step

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As every objective; where the encoder's scale was not told, it is what competing scores learn best from."""
        super().initialise(dictionary, x, y)
        if self.options["encoder_scale"] is None:
            dictionary.w_enc.data.mul_(ENCODER_SCALE)

    @abstractmethod
    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """Which features each row of a training batch uses, and their scores."""

    def k(self, dictionary: Dictionary) -> int:
        """How many features a row are selected now."""
        wide = falling(self.options["k_start"], self.options["k_until"], self.progress)
        return min(dictionary.n_features, round(int(dictionary.options()["k"]) * wide))

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``, ``auxk`` and ``dense``, see ``through``."""
        self.progress = progress
        return through(self, dictionary, x, y, self.select(dictionary, x))
