"""A penalty that is annealed from L1 towards L0 (Karvonen et al. 2024, "Measuring progress in dictionary learning").

``‖y − ŷ‖² + λ Σ f^p``. p is 1 until ``anneal_from``, then falls in ``anneal_steps`` equal steps to ``p_end``, which it
reaches at ``anneal_to`` (shares of the training). At each
step λ is multiplied by ``Σ f^p_old / Σ f^p_new`` over the ``window`` newest batches: the penalty keeps its size.

The gradient of ``f^p`` is infinite at 0. Here the power is ``(f + ε)^p − ε^p``, which is 0 at 0, and f at p = 1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.train.entries import Entries
from monoscope.train.objective import Moments
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
    at: Tensor
    sums: Tensor

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        self.register_buffer("at", torch.zeros((), dtype=torch.long))
        self.register_buffer("sums", torch.zeros(0, 2, dtype=torch.float64))

    def p(self, step: int) -> float:
        """The exponent after so many of ``anneal_steps`` steps."""
        return 1 - (1 - float(self.options["p_end"])) * min(1.0, step / self.options["anneal_steps"])

    def penalties(
        self,
        dictionary: Dictionary,
        entries: Entries,
        amounts: Float[Tensor, " n_entries"],
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        weight: float,
    ) -> dict[str, Float[Tensor, ""]]:
        """``Σ f^p``, remembered for this exponent and the next."""
        step = int(self.at)
        now = power(amounts, self.p(step)).sum()
        with torch.no_grad():
            pair = torch.stack([now.detach(), power(amounts, self.p(step + 1)).sum()]).double()
        self.sums = torch.cat([self.sums, pair[None]])[-self.options["window"] :]
        return {"lp": weight * now}

    def after_step(
        self,
        dictionary: Dictionary,
        moments: Moments,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        seen: int,
    ) -> None:
        """When a step of p is due, take it and correct λ."""
        begin, end, steps = (self.options[o] for o in ("anneal_from", "anneal_to", "anneal_steps"))
        due = int((seen / self.n_tokens - begin) / (end - begin) * steps)
        if int(self.at) < min(due, steps) and len(self.sums):
            before, after = self.sums.sum(0).tolist()
            if after > 0:
                self.control.correct(before / after)
            self.at += 1
            self.sums = self.sums[:0]


def power(f: Float[Tensor, " n"], p: float) -> Float[Tensor, " n"]:
    """``(f + ε)^p − ε^p`` for f ≥ 0: its gradient is finite."""
    return (f + EPSILON).pow(p) - EPSILON**p
