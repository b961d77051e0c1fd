"""Is an activation a detector of a class, and how good a one: specificity by level, sensitivity by correlation.

Both compare one column of activations (a feature's or a neuron's) with a proxy of ``proxies.py`` on the same tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.evaluate.intervals import Estimate, Totals, bootstrap
from monoscope.types import Code

LEVELS = 20
VARIES = 1e-10  # of a column's mean square: a variance below it is the rounding of long sums


@dataclass(frozen=True)
class Specificity:
    """Which tokens an activation fires on, level by level.

    ``edges`` cut the activations from 0 to the greatest into even levels. ``counts[i, j]`` is how many active tokens
    of level ``i`` have a proxy between ``proxy_edges[j]`` and ``proxy_edges[j + 1]``; ``mass`` is the same with each
    token weighted by its activation (the paper's expected-value plot). ``in_class`` is the share of a level's active
    tokens whose proxy is above 0; NaN for an empty level.
    """

    edges: Float[np.ndarray, " n_levels_plus_1"]
    proxy_edges: Float[np.ndarray, " n_proxy_plus_1"]
    counts: Float[np.ndarray, "n_levels n_proxy"]
    mass: Float[np.ndarray, "n_levels n_proxy"]
    in_class: Float[np.ndarray, " n_levels"]
    base: float  # share of all tokens in class
    of_active: float  # share of active tokens in class
    of_mass: float  # the same, each token weighted by its activation
    of_top: float  # the same among tokens at or above half of the greatest activation
    n_active: int
    n_top: int


def specificity(
    activation: Float[np.ndarray, " n"], proxy: Float[np.ndarray, " n"], proxy_edges: Float[np.ndarray, " m"]
) -> Specificity:
    """How specific an activation is to the class of a proxy; a token is active where its activation is above 0.

    Proxies beyond the outermost edges count in the outermost bins.
    """
    in_class, active = proxy > 0, activation > 0
    a, p, hits = activation[active].astype(np.float64), proxy[active], in_class[active]
    edges = np.linspace(0, float(a.max(initial=0.0)) or 1.0, LEVELS + 1)
    level = np.clip(np.searchsorted(edges, a, side="right") - 1, 0, LEVELS - 1)
    n_proxy = len(proxy_edges) - 1
    column = np.clip(np.searchsorted(proxy_edges, p, side="right") - 1, 0, n_proxy - 1)
    cell = level * n_proxy + column

    def table(weights: Float[np.ndarray, " k"]) -> Float[np.ndarray, "n_levels n_proxy"]:
        return np.bincount(cell, weights, LEVELS * n_proxy).reshape(LEVELS, n_proxy)

    top = a >= edges[-1] / 2
    counts = table(np.ones(len(a)))
    hits_by_level = np.bincount(level, hits.astype(float), LEVELS)
    with np.errstate(invalid="ignore"):
        share = hits_by_level / counts.sum(1)
    return Specificity(
        edges,
        proxy_edges,
        counts,
        table(a),
        share,
        float(in_class.mean()),
        float(hits.mean()) if len(a) else float("nan"),
        float((a * hits).sum() / a.sum()) if len(a) else float("nan"),
        float(hits[top].mean()) if top.any() else float("nan"),
        len(a),
        int(top.sum()),
    )


def pearson(totals: Totals) -> dict[str, np.ndarray]:
    """Pearson's correlation from the totals of x, y, x², y² and xy; NaN where either does not vary."""
    n = totals["n"]
    covariance = totals["xy"] - totals["x"] * totals["y"] / n

    def spread(square: np.ndarray, total: np.ndarray) -> np.ndarray:
        about_mean = square - total**2 / n
        return np.where(about_mean > VARIES * square, about_mean, np.nan)

    return {"pearson": covariance / np.sqrt(spread(totals["xx"], totals["x"]) * spread(totals["yy"], totals["y"]))}


def sensitivity(
    activation: Float[np.ndarray, " n"], in_class: Bool[np.ndarray, " n"], slots: Int[np.ndarray, " n"], seed: int = 0
) -> Estimate:
    """Pearson's correlation of an activation with class membership, with its interval over documents (``slots``)."""
    x, y = activation.astype(np.float64), in_class.astype(np.float64)
    _, document = np.unique(slots, return_inverse=True)
    total = partial(np.bincount, document)
    sums = {"n": total(), "x": total(x), "y": total(y), "xx": total(x * x), "yy": total(y * y), "xy": total(x * y)}
    return bootstrap({k: v.astype(np.float64) for k, v in sums.items()}, pearson, seed)["pearson"]


class Correlations:
    """Pearson of many columns with several targets, from blocks of rows; float64 sums, sparse or dense columns."""

    def __init__(self, n_columns: int, n_targets: int) -> None:
        self.n = 0
        self.x = torch.zeros(n_columns, dtype=torch.float64)
        self.xx = torch.zeros(n_columns, dtype=torch.float64)
        self.xy = torch.zeros(n_columns, n_targets, dtype=torch.float64)
        self.y = torch.zeros(n_targets, dtype=torch.float64)
        self.yy = torch.zeros(n_targets, dtype=torch.float64)

    def _targets(self, targets: Float[Tensor, "n n_targets"]) -> Float[Tensor, "n n_targets"]:
        exact = targets.double()
        self.n += len(exact)
        self.y += exact.sum(0)
        self.yy += exact.square().sum(0)
        return exact

    def add_code(self, code: Code, targets: Float[Tensor, "n n_targets"]) -> None:
        """Take in a block of sparse rows: each feature is a column."""
        exact, indices, values = self._targets(targets), code.indices.long().cpu(), code.values.double().cpu()
        self.x.index_add_(0, indices, values)
        self.xx.index_add_(0, indices, values.square())
        self.xy.index_add_(0, indices, values[:, None] * exact[code.rows().cpu()])

    def add_rows(self, x: Float[Tensor, "n n_columns"], targets: Float[Tensor, "n n_targets"]) -> None:
        """Take in a block of dense rows: each coordinate is a column."""
        exact, columns = self._targets(targets), x.double().cpu()
        self.x += columns.sum(0)
        self.xx += columns.square().sum(0)
        self.xy += columns.T @ exact

    def pearson(self) -> Float[np.ndarray, "n_columns n_targets"]:
        """The correlation of each column with each target; NaN where either never varies."""
        totals = {"n": np.array(self.n), "x": self.x[:, None].numpy(), "xx": self.xx[:, None].numpy()}
        return pearson({**totals, "y": self.y.numpy(), "yy": self.yy.numpy(), "xy": self.xy.numpy()})["pearson"]
