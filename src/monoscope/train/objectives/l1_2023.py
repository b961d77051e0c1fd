"""The recipe of *Towards Monosemanticity* (Bricken et al. 2023), whole.

Mean squared error over vector elements plus ``penalty × Σ feature activations``; Kaiming-uniform weights, pre-encoder
bias at the geometric median, unit-norm decoder rows with the gradient along them removed, and resampling of silent
features in six steps (``train.resampling``).

``resample_from="initial"`` is what to hold this against: silent features get new random weights, as before the first
step, and keep their biases and Adam's moments. So did the replication that found it to revive few of them
(``shehper/sparse-dictionary-learning``).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.l1_2023 import Architecture
from monoscope.errors import unknown_name
from monoscope.ops.responses import Response, respond
from monoscope.train import gradients, resampling
from monoscope.train.calibrate import shift_biases
from monoscope.train.control import Control
from monoscope.train.median import geometric_median
from monoscope.train.moments import Moments
from monoscope.train.objective import Objective as Base
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, PRECISION, Allowed
from monoscope.train.penalised import relu

SOURCES = ("inputs", "initial")  # of what resampled features begin with


class Objective(Base):
    """``mse + l1``. Options: ``penalty``; those of ``Resampling`` (without ``resample_at`` nothing is resampled), and
    ``resample_from``, ``"inputs"`` or ``"initial"``; ``l0``, the mean number of active features to reach (then
    ``penalty`` is only where the search begins, and what the search leaves is made up for at the end); ``precision``,
    as in ``SparseReconstruction``; those of ``Gradients``.
    """

    first_rows: ClassVar[int] = 16_384  # for the geometric median: off by less than a hundredth of a row's spread
    calibrates: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        **gradients.DEFAULTS,
        **resampling.DEFAULTS,
        "resample_at": (0.25, 0.5, 0.75),
        "resample_from": "inputs",
        "l0": None,
        "penalty": 0.004,
        "precision": None,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        **gradients.ALLOWED,
        **resampling.ALLOWED,
        "l0": POSITIVE,
        "penalty": NOT_NEGATIVE,
        "precision": PRECISION,
    }
    crowded: float | None = None  # see ``respond``

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        if self.options["resample_from"] not in SOURCES:
            raise unknown_name("source of resampled features", self.options["resample_from"], SOURCES)
        self.control = Control(self.options["penalty"], self.options["l0"], warmup=0.0)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Kaiming-uniform weights, unit decoder rows, ``b_dec`` at the geometric median of the sample."""
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for weight, new in zip((dictionary.w_enc, dictionary.w_dec), random_weights(dictionary, generator)):
                weight.copy_(new)
            dictionary.b_dec.copy_(geometric_median(y))

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse`` per vector element, and ``l1``: the penalty times the row sums of activations, averaged over rows."""
        assert isinstance(dictionary, Architecture)
        weights = (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec, dictionary.b_dec)
        centre = dictionary.b_dec if dictionary.centres else None
        outcome = respond(x, y, weights, Response(relu), self.precision(), self.crowded, centre)
        self.silence.hear(len(x), outcome.sums[0].detach() > 0)
        self.l0 = float(outcome.active) / len(x)
        self.left_over(outcome.left)
        weight = self.control.weigh(self.l0, progress)
        return {"mse": outcome.errors[0] / y.numel(), "l1": weight * outcome.sums[0].sum() / len(x)}

    def after_step(
        self,
        dictionary: Dictionary,
        moments: Moments,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        seen: int,
    ) -> None:
        """Resampling, from inputs or from new random weights."""
        if self.resampling is None or self.options["resample_from"] == "inputs":
            super().after_step(dictionary, moments, x, y, seen)
        elif (dead := self.resampling.silent(self.silence, seen)) is not None:
            self.redraw(dictionary, dead, seen)

    @torch.no_grad()
    def redraw(self, dictionary: Dictionary, dead: Tensor, seen: int) -> None:
        """New random weights for the features marked in ``dead``, and nothing else."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen)
        for weight, new in zip((dictionary.w_enc, dictionary.w_dec), random_weights(dictionary, generator)):
            weight[dead] = new[dead]
        self.silence.tokens[dead] = 0

    @torch.no_grad()
    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """With a wanted L0, one shift of all encoder biases, so that held-out rows have it."""
        assert isinstance(dictionary, Architecture)
        if self.options["l0"] is not None:
            shift_biases(dictionary, x, self.options["l0"], dictionary.encoder_bias())


def random_weights(dictionary: Dictionary, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Kaiming-uniform rows for encoder and decoder, the decoder's with unit norm."""
    made = []
    for weight in (dictionary.w_enc, dictionary.w_dec):
        bound = (6 / weight.shape[1]) ** 0.5
        made.append(torch.rand(weight.shape, generator=generator).mul_(2).mul_(bound).sub_(bound))
    return made[0], made[1].div_(made[1].norm(dim=1, keepdim=True))
