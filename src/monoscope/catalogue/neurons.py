"""Pearson correlation between every feature and every coordinate of a site, exact, over all rows seen.

With ``v`` a feature's value (0 where it is off) and ``x`` a coordinate, both over ``n`` rows:
``r = (Σvx/n − v̄ x̄) / (σ_v σ_x)``. Only ``Σvx`` needs both; it costs one multiplication per active entry and
coordinate. Coordinates are shifted by their mean over the first block, which leaves ``r`` as it is and keeps the
subtraction accurate where a coordinate's mean is large beside its spread.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from monoscope.ops.transpose import transpose
from monoscope.ops.weighted_rows import scatter
from monoscope.types import Code


class NeuronCorrelation:
    """Running sums for one site; memory is one float32 matrix of ``(n_features, d)`` and a few vectors."""

    def __init__(self, n_features: int, d: int) -> None:
        self.n = 0
        self.products = torch.zeros(n_features, d)
        self.value_sums = torch.zeros(2, n_features, dtype=torch.float64)  # Σv, Σv²
        self.x_sums = torch.zeros(2, d, dtype=torch.float64)  # Σx, Σx²
        self._shift: Tensor | None = None

    def add(self, x: Float[Tensor, "n d"], code: Code) -> None:
        """Take in the activations of some rows and their code."""
        x = x.detach().float().cpu()
        code = Code(code.indices.cpu(), code.values.detach().float().cpu(), code.offsets.cpu(), code.n_features)
        if self._shift is None:
            self._shift = x.mean(0)
        x = x - self._shift
        self.n += len(x)
        self.products += scatter(transpose(code), code.values, x)
        self.x_sums += torch.stack([x.sum(0, dtype=torch.float64), (x * x).sum(0, dtype=torch.float64)])
        values, indices = code.values.double(), code.indices.long()
        self.value_sums[0].index_add_(0, indices, values)
        self.value_sums[1].index_add_(0, indices, values * values)

    def pearson(self) -> Float[np.ndarray, "n_features d"]:
        """The correlations; NaN for features and coordinates that never vary."""
        n = max(1, self.n)
        mean_v, mean_x = self.value_sums[0] / n, self.x_sums[0] / n
        spread_v = (self.value_sums[1] / n - mean_v**2).clamp_min(0).sqrt()
        spread_x = (self.x_sums[1] / n - mean_x**2).clamp_min(0).sqrt()
        out = np.empty(tuple(self.products.shape), np.float32)
        for first in range(0, len(out), 1024):
            rows = slice(first, first + 1024)
            covariance = self.products[rows].double() / n - mean_v[rows, None] * mean_x
            ratio = covariance / (spread_v[rows, None] * spread_x)
            ratio[~torch.isfinite(ratio)] = torch.nan
            out[rows] = ratio.float().numpy()
        return out

    def strongest(
        self, count: int = 5
    ) -> tuple[Integer[np.ndarray, "n_features k"], Float[np.ndarray, "n_features k"]]:
        """Each feature's most correlated coordinates, of either sign, strongest first; index −1 where there is none."""
        r = self.pearson()
        strength = np.nan_to_num(np.abs(r), nan=-1.0)
        chosen = np.argsort(-strength, axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(r, chosen, 1)
        return np.where(np.isnan(found), -1, chosen), found
