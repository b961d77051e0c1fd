"""What an objective is: named loss terms of a dictionary on a batch, and the state that goes with them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope import plugins
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import product, reconstruct
from monoscope.ops.adam import BETAS
from monoscope.ops.transpose import transpose
from monoscope.train import schedules
from monoscope.train.dead import Silence, auxk
from monoscope.train.schedules import Schedule
from monoscope.types import Code

PACKAGE = "monoscope.train.objectives"
RATE = 2e-3  # of objectives that have no rule of their own


class Moments(Protocol):
    """The optimiser's memory, as far as an objective may touch it, and its learning rates."""

    @property
    def schedule(self) -> Schedule:
        """The learning rate by the share of tokens done."""
        ...

    def forget(self, name: str, rows: Tensor) -> None:
        """Zero the moments of these rows of a parameter."""
        ...


class Objective(nn.Module):
    """Loss terms of a dictionary on a batch. All state is buffers, so that a checkpoint holds it.

    Inputs are normalised: centred, and scaled to a mean squared norm equal to their width.
    """

    defaults: ClassVar[dict[str, Any]] = {}
    unit_rows: bool = True  # hold decoder rows to unit norm
    first_rows: ClassVar[int] = 4096  # how many rows ``initialise`` looks at
    calibrates: ClassVar[bool] = False  # may want rows that were not trained on, at the end

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__()
        unknown = set(options) - set(self.defaults)
        if unknown:
            raise MonoscopeError(
                f"the objective has no option {sorted(unknown)[0]!r}",
                fix=f"its options: {', '.join(self.defaults) or 'none'}",
            )
        self.options = {**self.defaults, **options}
        self.n_tokens, self.seed = n_tokens, seed
        self.silence = Silence(dictionary.n_features)
        self.l0 = 0.0  # of the newest batch, for the progress bar

    @classmethod
    def wants_rows(cls, options: Mapping[str, Any]) -> bool:
        """Whether a training with these options ends on rows that were not trained on: to reach an L0, if one is set."""
        return cls.calibrates and ("l0" not in cls.defaults or options.get("l0") is not None)

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

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Set the weights before the first step: random unit decoder rows, and encoder rows like them."""
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            rows = torch.randn(dictionary.n_features, dictionary.d_out, generator=generator)
            dictionary.w_dec.copy_(rows / rows.norm(dim=1, keepdim=True))
            if dictionary.d_in == dictionary.d_out:
                dictionary.w_enc.copy_(dictionary.w_dec)
            else:
                other = torch.randn(dictionary.n_features, dictionary.d_in, generator=generator)
                dictionary.w_enc.copy_(other / other.norm(dim=1, keepdim=True))

    def dead_after(self) -> int:
        """Tokens of silence after which a feature counts as dead: 10 million, or a tenth of a shorter training.

        The option of that name overrules it, where an objective has it.
        """
        return self.options.get("dead_after") or min(10_000_000, self.n_tokens // 10)

    def precision(self) -> torch.dtype:
        """The dtype of the encoder's product, where an objective has the option of that name; else the fastest."""
        return product.precision(self.options.get("precision"), self.silence.tokens.device.type)

    def unexplained(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], left: Float[Tensor, "n d_out"]
    ) -> Float[Tensor, ""]:
        """AuxK of what is dead now."""
        return auxk(dictionary, x, left, self.silence.dead(self.dead_after()), self.precision())

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
        """What happens between steps, such as resampling. ``seen`` counts the tokens up to now."""

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """What happens once at the end, such as calibrating thresholds on rows that were not trained on."""


class SparseReconstruction(Objective):
    """Mean squared error through a selection of features, plus AuxK: what TopK and BatchTopK share.

    The selection may begin wide: k falls in a line from ``k_start`` times its value to its value, which it has from
    the share ``k_until`` of the tokens on. Features that would never be among the first k so learn something first.

    Options of the descent: the encoder begins at ``encoder_scale`` times the decoder; ``decoder_rate`` and
    ``bias_rate`` are learning rates in units of the encoder's, the biases' (at 0) half the length of a row, since a
    bias is the weight of one more input, as long as all others together; ``beta1`` and ``beta2`` are Adam's.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "auxk": 1 / 32,
        "dead_after": 0,
        "precision": None,
        "k_start": 1.0,
        "k_until": 0.7,
        "encoder_scale": 0.5,
        "decoder_rate": 2.0,
        "bias_rate": 0.0,
        "beta1": 0.8,
        "beta2": 0.99,
    }
    progress = 1.0  # share of tokens done, as of the newest step

    @property
    def betas(self) -> tuple[float, float]:
        """The options of these names."""
        return self.options["beta1"], self.options["beta2"]

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """By the rule of ``schedules``."""
        return schedules.usual_rate(steps, n_features)

    def rate_of(self, name: str, dictionary: Dictionary) -> float:
        """The decoder's and the biases' as the options say."""
        if name == "w_dec":
            return float(self.options["decoder_rate"])
        if name in ("b_enc", "b_dec"):
            return float(self.options["bias_rate"] or math.sqrt(dictionary.d_in) / 2)
        return 1.0

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


def objective(name: str) -> type[Objective]:
    """The class of the objective ``name`` (a file of ``objectives``, or a dotted module)."""
    return plugins.load(PACKAGE, name).Objective
