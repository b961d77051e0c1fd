"""Logistic regression, several targets at once: L-BFGS in torch on standardised columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PENALTY = 1e-4  # on the squared weights of standardised columns, beside the mean loss of a row
STEPS = 60
ROUNDING = 4  # units in the last place of a column's mean: what varies by less does not vary


@dataclass(frozen=True)
class Logistic:
    """``scores(x)`` are log-odds."""

    weights: Float[Tensor, "d n_targets"]
    bias: Float[Tensor, " n_targets"]

    def scores(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n_targets"]:
        """The log-odds of each target on each row."""
        return x.to(self.weights) @ self.weights + self.bias


def fit(
    x: Float[Tensor, "n d"], y: Bool[Tensor, "n n_targets"], *, penalty: float = PENALTY, steps: int = STEPS
) -> Logistic:
    """The minimum of ``mean log-loss + penalty · ‖w‖²`` for each target, w in units of a column's spread.

    A column that does not vary has the weight 0.
    """
    mean, spread = x.mean(0), x.std(0)
    spread[~(spread > ROUNDING * torch.finfo(x.dtype).eps * mean.abs())] = torch.inf  # what never varies says nothing
    rows, wanted = (x - mean) / spread, y.to(x)
    weights = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype, requires_grad=True)
    rate = wanted.mean(0).clamp(1e-6, 1 - 1e-6)
    bias = (rate / (1 - rate)).log().requires_grad_(True)
    search = torch.optim.LBFGS([weights, bias], max_iter=steps, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(rows @ weights + bias, wanted, reduction="sum")
        loss = losses / len(rows) + penalty * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        search.step(closure)
    found = weights.detach() / spread[:, None]
    return Logistic(found, bias.detach() - mean @ found)
