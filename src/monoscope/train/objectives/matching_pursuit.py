"""Reconstruction by matching pursuit (Costa et al. 2025, arXiv 2506.03093).

The gradient is that of all k steps with what was picked held fixed, see ``ops.pursuit.steps``: it reaches an atom
both as what was taken off and through the inner product that said how much, and ``b_dec`` through the rows that are
pursued. Dead atoms come back as in AuxK (Gao et al. 2024): they pursue what the living ones left.

A transcoder, which is no part of that paper, learns what it reads by from the error of what it writes. Random
directions rarely find their rows that way, so for a share of the tokens, ``start``, they learn to explain these.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from monoscope.dictionary._pursuing import Pursuing
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.matching_pursuit import Architecture
from monoscope.ops import pursuit, reconstruct
from monoscope.ops.differences import less, mean_square
from monoscope.ops.transpose import ByFeature, transpose
from monoscope.train import gradients, objective, schedules
from monoscope.train.options import COUNT, NOT_NEGATIVE, SHARE, Allowed
from monoscope.types import Code

RATE = 1.5  # of what schedules has (docs/log/2026-11-30-pursuits.md)


class Objective(objective.Objective):
    """Terms ``mse`` and ``auxk``, and ``start`` of a transcoder's first tokens; options ``auxk`` (its weight),
    ``dead_after`` (tokens of silence), ``start`` (a share), ``Gradients``'.
    """

    defaults: ClassVar[dict[str, Any]] = {"start": 0.1, "auxk": 1 / 32, "dead_after": 0, **gradients.DEFAULTS}
    allowed: ClassVar[dict[str, Allowed]] = {
        "start": SHARE,
        "auxk": NOT_NEGATIVE,
        "dead_after": COUNT,
        **gradients.ALLOWED,
    }

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """By the rule of ``schedules``, and more."""
        return RATE * schedules.usual_rate(steps, n_features)

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        assert isinstance(dictionary, Pursuing)
        self.held = "w_enc" if dictionary.untied else "w_dec"

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Random unit rows; there is no encoder to be like them."""
        assert isinstance(dictionary, Pursuing)
        begin(dictionary, self.seed)

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``: squared error per number; ``auxk``: weighted by the option of that name."""
        assert isinstance(dictionary, Architecture)
        rows = less(x, dictionary.middle)
        found = dictionary.pursue(rows)
        values, left = pursuit.steps(rows, dictionary.atoms, found)
        code = found.code(dictionary.n_features)
        self.silence.hear(len(code), torch.bincount(code.indices, minlength=code.n_features) > 0)
        self.l0 = len(code.indices) / len(code)
        terms, missing = {"mse": mean_square(left)}, left.detach()
        if dictionary.untied:
            starting = progress < self.options["start"]
            steps = Code.from_rows(found.picks, values.detach() if starting else values, dictionary.n_features)
            mse, missing = written(dictionary, y, steps, transpose(steps))
            terms = {"mse": mse, "start": terms["mse"]} if starting else {"mse": mse}
        if self.options["auxk"]:
            dead = self.silence.dead(self.dead_after(len(x)))
            terms["auxk"] = self.options["auxk"] * unexplained(dictionary, left.detach(), missing, dead)
        return terms

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Unit decoder rows."""
        assert isinstance(dictionary, Pursuing)
        dictionary.fold()


def begin(dictionary: Pursuing, seed: int) -> None:
    """Random unit rows to write, and others to read by."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (dictionary.w_dec, dictionary.w_enc) if dictionary.untied else (dictionary.w_dec,):
            rows = torch.randn(weight.shape, generator=generator)
            weight.copy_(rows / rows.norm(dim=1, keepdim=True))


def written(
    dictionary: Pursuing, y: Float[Tensor, "n d_out"], code: Code, by: ByFeature
) -> tuple[Float[Tensor, ""], Float[Tensor, "n d_out"]]:
    """The error per number of what an untied dictionary writes, and what is missing."""
    return reconstruct.decoding_error(y, dictionary.w_dec, dictionary.b_dec, code, by)


def unexplained(
    dictionary: Pursuing,
    left: Float[Tensor, "n d_in"],
    missing: Float[Tensor, "n d_out"],
    dead: Bool[Tensor, " n_features"],
) -> Float[Tensor, ""]:
    """The share of what is ``missing`` that k steps with the dead atoms do not explain; 0 when none is dead.

    They pursue what is ``left`` of the rows, which is the same unless the dictionary is untied.
    """
    if not bool(dead.any()):
        return left.new_zeros(())
    atoms = dictionary.atoms[dead]
    found = pursuit.pursue(left, atoms, dictionary.k)
    values, still = pursuit.steps(left, atoms, found)
    error = still.square().sum()
    if dictionary.untied:
        code, w_dec = Code.from_rows(found.picks, values, len(atoms)), dictionary.w_dec[dead]
        mean, _ = reconstruct.decoding_error(missing, w_dec, missing.new_zeros(dictionary.d_out), code, transpose(code))
        error = mean * missing.numel()
    return error / missing.square().sum().clamp_min(1e-12)
