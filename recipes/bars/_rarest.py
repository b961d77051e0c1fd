"""How rare a dictionary's rarest features are: the density that a twentieth of the living features stay below.

*Towards Monosemanticity* watches the least density. On a finite sample that is one over the number of tokens as soon
as any feature fired once, so a low quantile stands for it. As log10; features that never fired have none.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float

from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Estimate, student
from monoscope.evaluate.measure import ROWS, Facts

NAMES = ("rarest",)
PART = ROWS
SHARE, GROUPS = 0.05, 20


class Rarest:
    """Counts of each feature's active tokens, in groups of documents for the jackknife."""

    def __init__(self, facts: Facts) -> None:
        groups = min(GROUPS, facts.n_documents)
        order = np.random.default_rng(facts.seed).permutation(facts.n_documents)
        self.group = torch.from_numpy(order % groups)
        self.counts = torch.zeros(groups, facts.n_features, dtype=torch.long)
        self.tokens = torch.zeros(groups, dtype=torch.long)

    def add(self, batch: Reconstructed) -> None:
        """Count a block's active entries."""
        groups = self.group[batch.slots]
        self.tokens += torch.bincount(groups, minlength=len(self.tokens))
        keys = groups[batch.code.rows()] * self.counts.shape[1] + batch.code.indices.long()
        self.counts.view(-1).index_add_(0, keys, torch.ones_like(keys))

    def estimates(self) -> dict[str, Estimate]:
        """The quantile."""
        value, without = self._found()
        return {"rarest": jackknife(value, without)}

    def differences(self, other: Self) -> dict[str, Estimate]:
        """Paired: the same groups of documents are left out of both."""
        (value, without), (others, others_without) = self._found(), other._found()
        return {"rarest": jackknife(value - others, without - others_without)}

    def details(self) -> dict[str, Any]:
        """Nothing beyond it."""
        return {}

    def _found(self) -> tuple[float, Float[np.ndarray, " n_groups"]]:
        counts, tokens = self.counts.numpy(), self.tokens.numpy()
        total = counts.sum(0)
        without = [quantile(total - c, tokens.sum() - n) for c, n in zip(counts, tokens, strict=True)]
        return quantile(total, tokens.sum()), np.array(without)


def quantile(counts: Float[np.ndarray, " n_features"], tokens: float) -> float:
    """log10 of the density that ``SHARE`` of the features that fired stay below; nan where none did."""
    fired = counts[counts > 0]
    return float(np.log10(np.quantile(fired, SHARE) / tokens)) if len(fired) else float("nan")


def jackknife(value: float, without: Float[np.ndarray, " n_groups"]) -> Estimate:
    """The delete-a-group interval of a number that is no share, so nothing is clipped."""
    if not np.isfinite([value, *without]).all():
        return Estimate()
    n = len(without)
    reach = student(n - 1) * math.sqrt((n - 1) / n * float(np.square(without - without.mean()).sum()))
    return Estimate(value, value - reach, value + reach)


start = Rarest
