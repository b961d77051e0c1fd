"""Affine maps of a site, and the moments of text that they are fitted to."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError

RIDGE = 1e-6  # of a column's mean square: singular where neurons never fire


@dataclass(frozen=True)
class Affine:
    """``h → h @ a + c``, in float64, which arrays and other tensors are brought to.

    Raises:
        MonoscopeError: they are no map of a site onto itself, or not finite.
    """

    a: Float[Tensor, "d d"]
    c: Float[Tensor, " d"]

    def __post_init__(self) -> None:
        try:
            a, c = (torch.as_tensor(part, dtype=torch.float64) for part in (self.a, self.c))
        except (TypeError, ValueError, RuntimeError) as error:
            raise MonoscopeError(f"an affine map is made of numbers: {error}", fix="give a matrix and a row") from error
        if c.ndim != 1 or a.shape != (len(c), len(c)) or not bool(a.isfinite().all() and c.isfinite().all()):
            raise MonoscopeError(
                f"h @ a + c with a of shape {tuple(a.shape)} and c of {tuple(c.shape)} is no map of a site onto itself",
                fix="give (d, d) and (d,) finite numbers",
            )
        object.__setattr__(self, "a", a)
        object.__setattr__(self, "c", c)

    def __call__(self, h: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        """The map, in the dtype of ``h``."""
        return (h.double() @ self.a.to(h.device) + self.c.to(h.device)).to(h.dtype)


class Moments:
    """Second moments of a site's activations and of some features' values, each with a constant 1 beside it.

    ``mean`` is the mean activation that a removal puts in the place of what it takes out.
    """

    def __init__(self, d: int, n: int) -> None:
        """``d`` numbers a row, ``n`` values."""
        self.xx = torch.zeros(d + 1, d + 1, dtype=torch.float64)
        self.xv = torch.zeros(d + 1, n, dtype=torch.float64)
        self.vv = torch.zeros(n, dtype=torch.float64)

    def add(self, x: Float[Tensor, "rows d"], values: Float[Tensor, "rows n"]) -> None:
        """Take in some rows."""
        rows, v = torch.cat([x, x.new_ones(len(x), 1)], 1).double(), values.double()
        self.xx += rows.T @ rows
        self.xv += rows.T @ v
        self.vv += v.square().sum(0)

    def of(self, columns: list[int]) -> Moments:
        """Those of some of the values only."""
        made = copy.copy(self)
        made.xv, made.vv = self.xv[:, columns], self.vv[columns]
        return made

    def balanced(self, rare: Moments) -> Moments:
        """With other rows beside these that count as much as all of these together; the mean stays that of these."""
        made, weight = copy.copy(self), self.xx[-1, -1] / rare.xx[-1, -1].clamp_min(1)
        made.xx, made.xv, made.vv = (getattr(self, n) + weight * getattr(rare, n) for n in ("xx", "xv", "vv"))
        made.mean = self.mean
        return made

    @cached_property
    def mean(self) -> Float[Tensor, " d"]:
        """The mean activation."""
        return self.xx[-1, :-1] / self.xx[-1, -1]

    def regression(self, constant: bool = True) -> tuple[Float[Tensor, "d n"], Float[Tensor, " n"]]:
        """The weights and offsets that predict the values best; offsets are 0 without a constant."""
        size = len(self.xx) if constant else len(self.xx) - 1
        square = self.xx[:size, :size]
        ridge = RIDGE * square.diagonal().clamp_min(float(square.diagonal().mean()) * RIDGE)
        found = torch.linalg.solve(square + ridge.diag(), self.xv[:size])
        return (found[:-1], found[-1]) if constant else (found, found.new_zeros(found.shape[1]))

    def r2(self) -> Float[Tensor, " n"]:
        """How much of each value's variance the regression explains."""
        weights, offset = self.regression()
        predictor = torch.cat([weights, offset[None]])
        left = self.vv - 2 * (predictor * self.xv).sum(0) + (predictor * (self.xx @ predictor)).sum(0)
        total = self.vv - self.xv[-1].square() / self.xx[-1, -1]
        return 1 - left / total.clamp_min(1e-30)


def span(directions: Float[Tensor, "n d"], tolerance: float = 1e-6) -> Float[Tensor, "d rank"]:
    """An orthonormal basis of what some directions span, float64; those that depend on the others add nothing."""
    _, sizes, basis = torch.linalg.svd(directions.double(), full_matrices=False)
    return basis[sizes > tolerance * sizes.max()].T
