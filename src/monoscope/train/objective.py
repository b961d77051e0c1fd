"""What an objective is: named loss terms of a dictionary on a batch, and the state that goes with them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope import plugins
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import product, reconstruct
from monoscope.ops.transpose import transpose
from monoscope.train.dead import Silence, auxk
from monoscope.train.schedules import Schedule
from monoscope.types import Code

PACKAGE = "monoscope.train.objectives"


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
    rates: ClassVar[dict[str, float]] = {}  # learning rates of single parameters, in units of everyone's
    calibrates: ClassVar[bool] = False  # wants rows that were not trained on, at the end

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
    """

    defaults: ClassVar[dict[str, Any]] = {
        "auxk": 1 / 32,
        "dead_after": 0,
        "precision": None,
        "k_start": 1.0,
        "k_until": 0.7,
    }
    progress = 1.0  # share of tokens done, as of the newest step

    @abstractmethod
    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """Which features each row of a training batch uses, and their scores."""

    def k(self, dictionary: Dictionary) -> int:
        """How many features a row are selected now."""
        final = int(dictionary.options()["k"])
        until = float(self.options["k_until"])
        left = max(0.0, 1 - self.progress / until) if until else 0.0
        return min(dictionary.n_features, round(final * (1 + (self.options["k_start"] - 1) * left)))

    def dead_after(self) -> int:
        """Tokens of silence after which a feature counts as dead: 10 million, or a tenth of a shorter training."""
        return self.options["dead_after"] or min(10_000_000, self.n_tokens // 10)

    def precision(self) -> torch.dtype:
        """The dtype of the encoder's product."""
        return product.precision(self.options["precision"])

    def scores(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Iterator[tuple[int, Float[Tensor, "n b"]]]:
        """The batch's scores in blocks of features: (first feature, scores)."""
        return product.feature_blocks(x, dictionary.w_enc, dictionary.b_enc, self.precision())

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
            terms["auxk"] = self.options["auxk"] * auxk(dictionary, x, left, self.silence.dead(self.dead_after()))
        return terms


def objective(name: str) -> type[Objective]:
    """The class of the objective ``name`` (a file of ``objectives``, or a dotted module)."""
    return plugins.load(PACKAGE, name).Objective
