"""What an objective is: named loss terms of a dictionary on a batch, and the state that goes with them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope import plugins
from monoscope.dictionary.base import Dictionary
from monoscope.ops import product
from monoscope.ops.adam import BETAS
from monoscope.train import schedules
from monoscope.train.dead import Silence, auxk
from monoscope.train.gradients import Gradients
from monoscope.train.moments import Moments
from monoscope.train.options import Allowed, check
from monoscope.train.resampling import ENCODER_SHARE, Resampling

PACKAGE = "monoscope.train.objectives"
RATE = 2e-3  # of objectives that have no rule of their own


class Objective(nn.Module):
    """Loss terms of a dictionary on a batch. All state is buffers, so that a checkpoint holds it.

    Inputs are normalised: centred, and scaled to a mean squared norm equal to their width.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    allowed: ClassVar[dict[str, Allowed]] = {}  # which values these options may have
    first_rows: ClassVar[int] = 4096  # how many rows ``initialise`` looks at
    newborn: ClassVar[float] = ENCODER_SHARE  # norm of resampled encoder rows, in units of the others'
    calibrates: ClassVar[bool] = False  # may want rows that were not trained on, at the end

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__()
        check(type(self).__module__.rpartition(".")[2], options, self.defaults, self.allowed)
        self.options = {**self.defaults, **options}
        self.n_tokens, self.seed = n_tokens, seed
        self.gradients = Gradients.of(self.options)
        self.silence = Silence(dictionary.n_features)
        again = self.options.get("resample_at")
        self.resampling = Resampling(self.options, dictionary.n_features, n_tokens, seed) if again else None
        self.held = "w_dec"  # the parameter whose rows ``unit_rows`` speaks of
        self.l0 = 0.0  # of the newest batch, for the progress bar

    @classmethod
    def wants_rows(cls, options: Mapping[str, Any]) -> bool:
        """Whether a training with these options ends on rows not trained on: to reach an L0, if one is set."""
        return cls.calibrates and ("l0" not in cls.defaults or options.get("l0") is not None)

    @property
    def unit_rows(self) -> bool:
        """Whether directions are held to unit norm: rows of the decoder, or of what else is ``held``."""
        return True

    @property
    def betas(self) -> tuple[float, float]:
        """How much of its two moments Adam keeps a step."""
        return BETAS

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """The learning rate of a training of so many steps that is told none."""
        return RATE

    def rate_of(self, name: str, dictionary: Dictionary) -> float:
        """The learning rate of a parameter, in units of everyone's."""
        return 1.0

    def begin(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """What happens once, before the first step; ``x`` and ``y`` are the first ``first_rows`` rows."""
        self.initialise(dictionary, x, y)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Set the weights before the first step: random unit decoder rows, and encoder rows like them.

        A transcoder's between sites of different widths begin in directions of their own, as all do that are not
        ``tied``.
        """
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            rows = torch.randn(dictionary.n_features, dictionary.d_out, generator=generator)
            dictionary.w_dec.copy_(rows / rows.norm(dim=1, keepdim=True))
            if dictionary.d_in == dictionary.d_out and self.options.get("tied", True):
                dictionary.w_enc.copy_(dictionary.w_dec)
            else:
                other = torch.randn(dictionary.n_features, dictionary.d_in, generator=generator)
                dictionary.w_enc.copy_(other / other.norm(dim=1, keepdim=True))

    def dead_after(self, batch_size: int) -> int:
        """Tokens of silence after which a feature counts as dead, see ``schedules.usual_silence``.

        The option of that name overrules it, where an objective has it.
        """
        return self.options.get("dead_after") or schedules.usual_silence(self.n_tokens, batch_size)

    def precision(self) -> torch.dtype:
        """The dtype of the encoder's product, where an objective has the option of that name; else the fastest."""
        return product.precision(self.options.get("precision"), self.silence.tokens.device.type)

    def unexplained(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], left: Float[Tensor, "n d_out"]
    ) -> Float[Tensor, ""]:
        """AuxK of what is dead now."""
        dead, k = self.silence.dead(self.dead_after(len(x))), self.options.get("auxk_features")
        return auxk(dictionary, x, left, dead, self.precision(), k)

    @abstractmethod
    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Differentiable terms whose sum is minimised; ``progress`` is the share of tokens done."""

    def after_step(
        self,
        dictionary: Dictionary,
        moments: Moments,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        seen: int,
    ) -> None:
        """What happens between steps: resampling, where its time has come. ``seen`` counts the tokens up to now."""
        if self.resampling is None:
            return
        self.resampling.draw(x, y, seen)
        dead = self.resampling.silent(self.silence, seen)
        if dead is not None:
            places = self.resampling.resample(dictionary, moments, dead, self.newborn)
            self.silence.tokens[places] = 0
            self.reborn(dictionary, moments, places)

    def reborn(self, dictionary: Dictionary, moments: Moments, places: Tensor) -> None:
        """Set what these resampled features have beyond rows of the weights and a bias."""

    def left_over(self, left: Float[Tensor, "n d_out"]) -> None:
        """Note what the reconstruction of the newest batch leaves over."""
        if self.resampling is not None:
            self.resampling.hear(left)

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """What happens once at the end, such as calibrating thresholds on rows that were not trained on."""


def objective(name: str) -> type[Objective]:
    """The class of the objective ``name`` (a file of ``objectives``, or a dotted module)."""
    return plugins.load(PACKAGE, name).Objective
