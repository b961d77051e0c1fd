"""Reconstruction by matching pursuit (Costa et al. 2025, arXiv 2506.03093).

The gradient is that of all k steps with what was picked held fixed, see ``ops.pursuit.residual``: it reaches an atom
both as what was taken off and through the inner product that said how much, and ``b_dec`` through the rows that are
pursued. Dead atoms come back as in AuxK (Gao et al. 2024): they pursue what the living ones left.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.matching_pursuit import Architecture
from monoscope.ops import pursuit
from monoscope.ops.differences import less, mean_square
from monoscope.train import gradients, objective, schedules
from monoscope.train.options import COUNT, NOT_NEGATIVE, Allowed

RATE = 1.5  # of what schedules has (docs/log/2026-11-30-pursuits.md)


class Objective(objective.Objective):
    """Terms ``mse`` and ``auxk``; options ``auxk`` (its weight), ``dead_after`` (tokens of silence), ``Gradients``'."""

    defaults: ClassVar[dict[str, Any]] = {"auxk": 1 / 32, "dead_after": 0, **gradients.DEFAULTS}
    allowed: ClassVar[dict[str, Allowed]] = {"auxk": NOT_NEGATIVE, "dead_after": COUNT, **gradients.ALLOWED}

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """By the rule of ``schedules``, and more."""
        return RATE * schedules.usual_rate(steps, n_features)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Random unit rows; there is no encoder to be like them."""
        rows = torch.randn(dictionary.w_dec.shape, generator=torch.Generator().manual_seed(self.seed))
        with torch.no_grad():
            dictionary.w_dec.copy_(rows / rows.norm(dim=1, keepdim=True))

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``: squared error per number; ``auxk``: weighted by the option of that name."""
        assert isinstance(dictionary, Architecture)
        centred = less(x, dictionary.b_dec)
        found = dictionary.pursue(centred)
        left = pursuit.residual(centred, dictionary.w_dec, found)
        code = found.code(dictionary.n_features)
        self.silence.hear(len(code), torch.bincount(code.indices, minlength=code.n_features) > 0)
        self.l0 = len(code.indices) / len(code)
        terms = {"mse": mean_square(left)}
        if self.options["auxk"]:
            dead = self.silence.dead(self.dead_after(len(x)))
            terms["auxk"] = self.options["auxk"] * unexplained(left.detach(), dictionary.w_dec, dead, dictionary.k)
        return terms


def unexplained(
    left: Float[Tensor, "n d"], atoms: Float[Tensor, "n_features d"], dead: Bool[Tensor, " n_features"], k: int
) -> Float[Tensor, ""]:
    """The share of ``left`` that k steps with the dead atoms do not explain; 0 when none is dead."""
    if not bool(dead.any()):
        return left.new_zeros(())
    atoms = atoms[dead]
    still = pursuit.residual(left, atoms, pursuit.pursue(left, atoms, k))
    return still.square().sum() / left.square().sum().clamp_min(1e-12)
