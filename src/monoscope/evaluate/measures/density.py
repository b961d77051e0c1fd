"""How often features fire: dead, ultra-rare and dense shares, and the histogram of densities.

A feature's density is the fraction of tokens on which it is active. *Dead*: active on none of the evaluated tokens.
*Ultra-rare*: active, but on fewer than one token in 100,000 (not defined where fewer tokens than that are left when a
group of documents is left out). *Dense*: active on more than one token in ten. All three depend on how many tokens were
looked at, which the evaluation states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Estimate, jackknife
from monoscope.evaluate.measure import ROWS, Facts

ULTRA_RARE, DENSE = 1e-5, 1e-1
FREQUENT = (0.01, 0.1)  # shares of the tokens
GROUPS = 20  # of documents, left out in turn
EDGES = np.arange(-28, 1) / 4  # log10 of density: -7, -6.75, … 0
PART = ROWS

Share = Callable[[Float[np.ndarray, " n_features"], float], float]


def dead(counts: Float[np.ndarray, " n_features"], tokens: float) -> float:
    """The share of features that are never active."""
    return float((counts == 0).mean())


def ultra_rare(counts: Float[np.ndarray, " n_features"], tokens: float) -> float:
    """The share of features that are active, on fewer than one token in 100,000."""
    return float(((counts > 0) & (counts < ULTRA_RARE * tokens)).mean())


def dense(counts: Float[np.ndarray, " n_features"], tokens: float) -> float:
    """The share of features that are active on more than one token in ten."""
    return float((counts > DENSE * tokens).mean())


SHARES: dict[str, Share] = {"dead_fraction": dead, "ultra_rare_fraction": ultra_rare, "dense_fraction": dense}
NAMES = tuple(SHARES)


class Density:
    """Counts of each feature's active tokens, in groups of documents that are drawn by seed."""

    def __init__(self, facts: Facts) -> None:
        groups = min(GROUPS, facts.n_documents)
        order = np.random.default_rng(facts.seed).permutation(facts.n_documents)
        self.group = torch.from_numpy(order % groups)
        self.counts = torch.zeros(groups * facts.n_features, dtype=torch.long)
        self.tokens = torch.zeros(groups, dtype=torch.long)
        self.n_features = facts.n_features

    def add(self, batch: Reconstructed) -> None:
        """Count a block's active entries."""
        groups = self.group[batch.slots.cpu()]
        self.tokens += torch.bincount(groups, minlength=len(self.tokens))
        keys = groups[batch.code.rows().cpu()] * self.n_features + batch.code.indices.long().cpu()
        self.counts.index_add_(0, keys, torch.ones_like(keys))

    def estimates(self) -> dict[str, Estimate]:
        """The shares, with jackknife intervals over groups of documents."""
        return {
            name: jackknife(value, without) for name, (value, without) in self._shares().items()
        } | self._undefined()

    def differences(self, other: Self) -> dict[str, Estimate]:
        """Paired: the same groups of documents are left out of both."""
        others = other._shares()
        return {
            name: jackknife(value - others[name][0], without - others[name][1], least=-1.0)
            for name, (value, without) in self._shares().items()
        } | self._undefined()

    def _shares(self) -> dict[str, tuple[float, Float[np.ndarray, " n_groups"]]]:
        """Each share, and what it is with each group of documents left out."""
        by_group = self.counts.view(-1, self.n_features).numpy()
        tokens = self.tokens.numpy()
        counts, total = by_group.sum(0), int(tokens.sum())
        left_out = [(counts - c, total - n) for c, n in zip(by_group, tokens, strict=True)]
        return {
            name: (share(counts, total), np.array([share(c, n) for c, n in left_out])) for name, share in SHARES.items()
        }

    def _undefined(self) -> dict[str, Estimate]:
        """What so few tokens cannot show: with the largest group left out no feature could be ultra-rare."""
        fewest = int(self.tokens.sum() - self.tokens.max())
        return {"ultra_rare_fraction": Estimate()} if fewest * ULTRA_RARE < 1 else {}

    def details(self) -> dict[str, Any]:
        """The histogram of log10 density; features below the lowest edge that are not dead count in the first bin.

        ``frequent``: of the features that are active on more than such a share of the tokens, the share among features
        and that of all activations that are theirs.
        """
        counts, total = self.counts.view(-1, self.n_features).sum(0).numpy(), int(self.tokens.sum())
        alive = counts[counts > 0]
        levels = np.clip(np.log10(alive / max(total, 1)), EDGES[0], EDGES[-1])
        return {
            "log10_edges": EDGES.tolist(),
            "counts": np.histogram(levels, EDGES)[0].tolist(),
            "dead": int((counts == 0).sum()),
            "n_features": self.n_features,
            "frequent": {str(limit): _frequent(counts, limit * total) for limit in FREQUENT},
        }


def _frequent(counts: Float[np.ndarray, " n_features"], least: float) -> dict[str, float]:
    chosen = counts > least
    return {"features": float(chosen.mean()), "activations": float(counts[chosen].sum() / max(1, counts.sum()))}


start = Density
