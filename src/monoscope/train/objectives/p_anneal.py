"""A penalty that is annealed from L1 towards L0 (Karvonen et al. 2024, "Measuring progress in dictionary learning").

``‖y − ŷ‖² + λ Σ f^p``. p is 1 until ``anneal_from``, then falls in ``anneal_steps`` equal steps to ``p_end``, which it
reaches at ``anneal_to`` (shares of the training). At each
step λ is multiplied by ``Σ f^p_old / Σ f^p_new`` over the ``window`` newest batches: the penalty keeps its size.

The gradient of ``f^p`` is infinite at 0. Here the power is ``(f + ε)^p − ε^p``, which is 0 at 0, and f at p = 1.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops.lengths import lengths
from monoscope.ops.responses import Outcome, Response
from monoscope.train.moments import Moments
from monoscope.train.options import SHARE, Allowed, Range
from monoscope.train.penalised import Penalised

EPSILON = 1e-3


class Objective(Penalised):
    """``mse + lp``. Further options: ``p_end``, ``anneal_from``, ``anneal_to``, ``anneal_steps``, ``window``."""

    defaults: ClassVar[dict[str, Any]] = {
        **Penalised.defaults,
        "p_end": 0.2,
        "anneal_from": 0.2,
        "anneal_to": 0.8,
        "anneal_steps": 16,
        "window": 10,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        **Penalised.allowed,
        "p_end": Range(0, 1, above=True),
        "anneal_from": SHARE,
        "anneal_to": SHARE,
        "anneal_steps": Range(1, whole=True),
        "window": Range(1, whole=True),
    }
    at: Tensor
    sums: Tensor
    near = False  # whether p changes within the window

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        begin, end = self.options["anneal_from"], self.options["anneal_to"]
        if begin >= end:
            raise MonoscopeError(
                f"p is annealed from {begin} to {end} of the tokens", fix="choose an anneal_from below anneal_to"
            )
        self.register_buffer("at", torch.zeros((), dtype=torch.long))
        self.register_buffer("sums", torch.zeros(0, 2, dtype=torch.float64))

    def p(self, step: int) -> float:
        """The exponent after so many of ``anneal_steps`` steps."""
        return 1 - (1 - float(self.options["p_end"])) * min(1.0, step / self.options["anneal_steps"])

    def response(self, dictionary: Dictionary) -> Response:
        """``f``, and its powers by this exponent and, where the next is near, by that one.

        Where directions may have any length, the powers are of ``f ‖d‖``.
        """
        step = int(self.at)
        exponents = (self.p(step), self.p(step + 1))[: 1 + self.near]
        norms = () if self.unit_rows else (lengths(dictionary.w_dec),)
        return Response(partial(powers, exponents=exponents), norms)

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse`` and ``lp``, see ``Penalised``."""
        begin, end, steps = (self.options[o] for o in ("anneal_from", "anneal_to", "anneal_steps"))
        due = begin + (int(self.at) + 1) / steps * (end - begin)
        self.near = int(self.at) < steps and progress + (self.options["window"] + 1) * len(x) / self.n_tokens >= due
        return super().losses(dictionary, x, y, progress)

    def penalties(
        self, dictionary: Dictionary, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``Σ f^p``, remembered for this exponent and the next."""
        totals = outcome.totals.sum(1)
        if self.near:
            self.sums = torch.cat([self.sums, totals.detach().double()[None]])[-self.options["window"] :]
        return {"lp": weight * totals[0]}

    def after_step(
        self,
        dictionary: Dictionary,
        moments: Moments,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        seen: int,
    ) -> None:
        """When a step of p is due, take it and correct λ."""
        super().after_step(dictionary, moments, x, y, seen)
        begin, end, steps = (self.options[o] for o in ("anneal_from", "anneal_to", "anneal_steps"))
        due = int((seen / self.n_tokens - begin) / (end - begin) * steps)
        if int(self.at) < min(due, steps) and len(self.sums):
            before, after = self.sums.sum(0).tolist()
            if after > 0:
                self.control.correct(before / after)
            self.at += 1
            self.sums = self.sums[:0]


def power(f: Float[Tensor, "*n"], p: float) -> Float[Tensor, "*n"]:
    """``(f + ε)^p − ε^p`` for f ≥ 0: its gradient is finite."""
    if p == 1:  # nothing to compute, and nothing to round
        return f
    return (f + EPSILON).pow(p) - EPSILON**p


def powers(
    scores: Tensor, *norms: Tensor, exponents: tuple[float, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Positive scores, and their powers, times ``norms`` if given; but for the first, these are only looked at."""
    active = scores.relu()
    size = active * norms[0] if norms else active
    now, *later = exponents
    return (active,), (power(size, now), *(power(size.detach(), p) for p in later))
