"""Signs that a dictionary's L0 is wrong: what its own directions see in inputs and errors where they are not active.

Where L0 is too low, features mix what fires together; where it is too high, they come apart in ways that mix as well
(Chanin and Garriga-Alonso 2025, arXiv 2508.16560). Mixed directions project on inputs that they are not active on:
``inactive_projection`` is the root mean square, over tokens and inactive features, of the cosine between the
activation (less what is written besides features: the decoder's bias) and the direction, the width of the paper's
histograms of decoder projections. It is to be compared across dictionaries of several L0, where it is least at the
right one.

Too low shows in one dictionary alone: what is left over holds features that the dictionary knows. ``missed_feature`` is
the share of the squared error that the best inactive feature of each token would explain, ``missed_over_random`` how
many times more that is than the best of as many random directions explains, and ``next_feature`` what the former is
worth beyond the latter, in units of what an active feature explains on average: near 0 where enough features are
active, near 1 where the next is as good as those.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.evaluate import chance
from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Estimate, Totals
from monoscope.evaluate.measure import ROWS, DocumentSums, Facts
from monoscope.types import Code

NAMES = ("inactive_projection", "missed_feature", "missed_over_random", "next_feature")
PART = ROWS
DRAWN = 8_192  # tokens, of those there are
BLOCK = 1_024


def values(totals: Totals) -> dict[str, np.ndarray]:
    """Ratios of totals."""
    explained = (totals["input"] - totals["error"]) / totals["active"]
    gain = (totals["missed"] - totals["random"]) / totals["tokens"]
    return {
        "inactive_projection": np.sqrt(totals["projection"] / totals["tokens"]),
        "missed_feature": totals["missed"] / totals["error"],
        "missed_over_random": totals["missed"] / totals["random"],
        "next_feature": gain / np.where(explained > 0, explained, np.nan),
    }


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Nothing of whole blocks: only drawn tokens are looked at."""
    return {}


class Mixing(DocumentSums):
    """Projections of a sample of tokens on every direction, some tokens at a time."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(terms, values, facts)
        self.rate = min(1.0, DRAWN / max(1, facts.n_tokens))
        self.directions, self.rest = facts.directions, facts.rest
        self.once = facts.once

    def add(self, batch: Reconstructed) -> None:
        """Look at a block's drawn tokens."""
        self._sampled = None
        if self.directions is None:
            return
        directions = torch.nn.functional.normalize(self.directions.detach(), dim=1).to(batch.x)
        random = self.once(f"{__name__} {tuple(directions.shape)}", lambda: self._random(directions)).to(batch.x)
        x = batch.x if self.rest is None else batch.x - self.rest(batch.read).to(batch.x)
        error = batch.x - batch.x_hat
        drawn = (chance.uniform(batch.keys, self.seed) < self.rate).nonzero()[:, 0].to(batch.x.device)
        for some in drawn.split(BLOCK):
            active = active_features(batch.code, some)
            square = torch.linalg.vecdot(x[some], x[some]).clamp(min=1e-30)
            seen = (x[some] @ directions.T).masked_fill_(active, 0).square().sum(1) / (~active).sum(1).clamp(min=1)
            best, chance_best = (
                (error[some] @ d.T).masked_fill_(active, 0).amax(1).clamp(min=0).square() for d in (directions, random)
            )
            left = torch.linalg.vecdot(error[some], error[some])
            self.sums.add(batch.slots[some], {
                "projection": seen / square, "missed": best, "random": chance_best,
                "error": left, "input": square, "active": active.sum(1),
            })  # fmt: skip

    def estimates(self) -> dict[str, Estimate]:
        """Null where there are no directions."""
        return super().estimates() if self._speaks() else dict.fromkeys(NAMES, Estimate())

    def differences(self, other: Self) -> dict[str, Estimate]:
        """Paired; null where either has no directions."""
        return super().differences(other) if self._speaks() and other._speaks() else dict.fromkeys(NAMES, Estimate())

    def _random(self, like: Float[Tensor, "n_features d"]) -> Float[Tensor, "n_features d"]:
        """As many random directions."""
        return chance.unit_directions(torch.arange(len(like)), like.shape[1], self.seed)

    def _speaks(self) -> bool:
        return bool(self.sums.sums)


def active_features(code: Code, rows: Int[Tensor, " n"]) -> Bool[Tensor, "n n_features"]:
    """Which features are active on some rows of a code."""
    number = torch.full((len(code),), -1, device=rows.device)
    number[rows] = torch.arange(len(rows), device=rows.device)
    of_entry = number[code.rows()]
    kept = of_entry >= 0
    found = torch.zeros(len(rows), code.n_features, dtype=torch.bool, device=rows.device)
    found[of_entry[kept], code.indices[kept].long()] = True
    return found


start = Mixing
