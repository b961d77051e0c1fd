"""How the directions of a decoder lie: nearest neighbours, pairs, lengths. Features that never fired are left out.

``decoder_nearest_cosine`` is the mean, over features, of the cosine with the nearest other direction: near 1 where
features come in copies. ``decoder_pairwise_cosine`` is the mean magnitude of the cosine over all pairs, ``c_dec`` of
Chanin and Garriga-Alonso 2025 (arXiv 2508.16560); random directions have about ``sqrt(2 / (π d))``. ``decoder_norm``
is the mean length of a direction, 1 where training holds it there. These are numbers of weights, not of tokens: their
intervals treat the features as the sample.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Estimate, student
from monoscope.evaluate.measure import ROWS, Facts

NAMES = ("decoder_nearest_cosine", "decoder_pairwise_cosine", "decoder_norm")
PART = ROWS
MOST = 8_192  # features that are compared with all others; of a wider dictionary so many are drawn
BLOCK = 1_024
EDGES = np.arange(-10, 11) / 10  # of the nearest cosine


def cosines(directions: Float[Tensor, "n d"], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """For each direction (or ``MOST`` drawn ones) the cosine of the nearest other, and the mean magnitude over all."""
    unit = torch.nn.functional.normalize(directions.double() if len(directions) < BLOCK else directions.float(), dim=1)
    chosen = torch.arange(len(unit))
    if len(unit) > MOST:
        chosen = torch.from_numpy(np.sort(np.random.default_rng(seed).choice(len(unit), MOST, replace=False)))
    nearest, magnitude = [], []
    for some in chosen.split(BLOCK):
        found = unit[some] @ unit.T
        found[torch.arange(len(some)), some] = 0
        magnitude.append(found.abs().sum(1).double() / max(1, len(unit) - 1))
        found[torch.arange(len(some)), some] = -torch.inf
        nearest.append(found.amax(1).double())
    return torch.cat(nearest).cpu().numpy(), torch.cat(magnitude).cpu().numpy()


class Geometry:
    """Notes which features fire; everything else is read off the directions at the end."""

    def __init__(self, facts: Facts) -> None:
        self.directions, self.seed = facts.directions, facts.seed
        self.fired = torch.zeros(facts.n_features, dtype=torch.bool)
        self._found: dict[str, tuple[float, float]] | None = None
        self._nearest: np.ndarray = np.zeros(0)

    def add(self, batch: Reconstructed) -> None:
        """Note the active features of a block."""
        self.fired[batch.code.indices.long().cpu()] = True
        self._found = None

    def spreads(self) -> dict[str, tuple[float, float]]:
        """Each number with its standard error; nothing where there are fewer than two directions."""
        if self._found is None:
            self._found = {}
            if self.directions is not None and int(self.fired.sum()) > 1:
                alive = self.directions.detach()[self.fired.to(self.directions.device)]
                self._nearest, magnitude = cosines(alive, self.seed)
                norms = torch.linalg.vector_norm(alive.double(), dim=1).cpu().numpy()
                # each pair belongs to two features, so the mean over pairs varies as twice that over features
                for name, sample, times in zip(NAMES, (self._nearest, magnitude, norms), (1, 2, 1), strict=True):
                    error = times * float(sample.std(ddof=1)) / math.sqrt(len(sample)) if len(sample) > 1 else 0.0
                    self._found[name] = float(sample.mean()), error
        return self._found

    def estimates(self) -> dict[str, Estimate]:
        """The means over features, with intervals over features."""
        spreads = self.spreads()
        reach = student(max(1, len(self._nearest) - 1))  # of the features that spreads() has just looked at
        found = {name: Estimate(v, v - reach * e, v + reach * e) for name, (v, e) in spreads.items()}
        return {**dict.fromkeys(NAMES, Estimate()), **found}

    def differences(self, other: Self) -> dict[str, Estimate]:
        """The features of two dictionaries are two samples: their errors add up."""
        mine, others = self.spreads(), other.spreads()
        found: dict[str, Estimate] = dict.fromkeys(NAMES, Estimate())
        for name in set(mine) & set(others):
            gap, reach = mine[name][0] - others[name][0], 1.96 * math.hypot(mine[name][1], others[name][1])
            found[name] = Estimate(gap, gap - reach, gap + reach)
        return found

    def details(self) -> dict[str, Any]:
        """The histogram of nearest cosines."""
        if not self.spreads():
            return {}
        return {"nearest_edges": EDGES.tolist(), "counts": np.histogram(self._nearest, EDGES)[0].tolist()}


start = Geometry
