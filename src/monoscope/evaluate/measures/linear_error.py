"""How much of the error a linear map of the activation predicts: linear against non-linear error.

Engels et al. 2024 (arXiv 2410.14670): the error ``e = x − x̂`` is regressed on ``x`` (a transcoder's on what it reads),
and so is its squared length.
``error_linear`` is the share of the error's variance that the regression explains, ``error_norm_linear`` the share of
the squared length's, and ``fvu_nonlinear`` what is left of the fraction of variance unexplained when the predicted
error is added to the reconstruction. The maps are ridge regressions with an intercept, fitted on one half of the
documents and judged on the other.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.evaluate import chance
from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Totals
from monoscope.evaluate.measure import ROWS, DocumentSums, Facts, SumsByDocument

NAMES = ("error_linear", "error_norm_linear", "fvu_nonlinear")
PART = ROWS
FITTED, JUDGED = 65_536, 16_384  # tokens of each half that are drawn, of those there are
BLOCK = 2048  # tokens that are judged at once
RIDGE = 1e-4  # of the mean variance of a coordinate


def terms(batch: Reconstructed) -> dict[str, Tensor]:
    """Nothing of a token alone: the sums follow from the regression."""
    return {}


def values(totals: Totals) -> dict[str, np.ndarray]:
    """Shares of variance, each about the mean of the same tokens."""
    n = totals["tokens"]

    def variance(square: str, total: str) -> np.ndarray:
        of_mean = np.square(totals[total]).reshape(len(n), -1).sum(1) / n
        spread = totals[square] - of_mean
        return np.where(spread > 1e-12 * np.abs(totals[square]), spread, np.nan)

    return {
        "error_linear": 1 - totals["left"] / variance("e_square", "e_sum"),
        "error_norm_linear": 1 - totals["norm_left"] / variance("norm_square", "norm_sum"),
        "fvu_nonlinear": totals["left"] / variance("x_square", "x_sum"),
    }


class Drawn:
    """The tokens that are drawn, and what follows from them alone: the same for every reconstructor."""

    def __init__(self, facts: Facts) -> None:
        self.seed = facts.seed
        half = np.random.default_rng((facts.seed, 1)).permutation(facts.n_documents) % 2
        self.judged = torch.from_numpy(half == 1)
        self.rates = tuple(min(1.0, 2 * most / max(1, facts.n_tokens)) for most in (FITTED, JUDGED))
        self.gram = torch.zeros((), dtype=torch.float64)
        self.shift = torch.zeros(())  # near the mean, so that little cancels; the intercept makes up for it
        self.kept = list[tuple[Tensor, Tensor, Tensor]]()  # rows to judge by, those read for them, and their documents
        self.fit, self.known = torch.zeros(0, dtype=torch.bool), torch.zeros(0, 0)  # of the last block

    def take(self, number: int, batch: Reconstructed) -> None:
        """Draw from a block, unless another reconstructor brought it before; all see a block before the next."""
        if number == len(self.kept) - 1:
            return
        assert number == len(self.kept)
        self.shift = self.shift if self.kept else batch.read.mean(0)
        judged = self.judged[batch.slots.cpu()]
        drawn = chance.uniform(batch.keys, self.seed) < torch.where(judged, self.rates[1], self.rates[0])
        self.fit, judge = ((drawn & part).to(batch.x.device) for part in (~judged, judged))
        self.known = _with_one(batch.read[self.fit] - self.shift)
        self.gram = self.gram + (self.known.T @ self.known).cpu().double()
        self.kept.append((batch.x[judge], batch.read[judge], batch.slots[judge]))


class LinearError(DocumentSums):
    """Normal equations over the first half's tokens; those of the second are reconstructed again with the map known."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(terms, values, facts)
        self.drawn, self.reconstruct = facts.once(__name__, lambda: Drawn(facts)), facts.reconstruct
        self.cross, self.blocks = torch.zeros((), dtype=torch.float64), 0
        self.n_documents = facts.n_documents

    def add(self, batch: Reconstructed) -> None:
        """Add a block's drawn tokens to the equations."""
        self._sampled = None
        self.drawn.take(self.blocks, batch)
        self.blocks += 1
        e = batch.x[self.drawn.fit] - batch.x_hat[self.drawn.fit]
        self.cross = self.cross + (self.drawn.known.T @ torch.cat([e, _square(e)], 1)).cpu().double()

    def per_document(self) -> dict[str, np.ndarray]:
        """Squared errors before and after the regression, of the second half's documents."""
        kept = [torch.cat(parts) for parts in zip(*self.drawn.kept, strict=True)]
        solution = self._solve().to(kept[0].device)
        sums = SumsByDocument(self.n_documents)
        for x, read, slot in zip(*(part.split(BLOCK) for part in kept), strict=True):
            e = (x - self.reconstruct(read)).double()
            predicted = _with_one((read - self.drawn.shift).double()) @ solution
            length = _square(e)
            left, norm_left = _square(e - predicted[:, :-1]), _square(length - predicted[:, -1:])
            sums.add(slot, {
                "left": left[:, 0], "norm_left": norm_left[:, 0],
                "e_square": length[:, 0], "e_sum": e,
                "norm_square": length[:, 0].square(), "norm_sum": length[:, 0],
                "x_square": _square(x.double())[:, 0], "x_sum": x.double(),
            })  # fmt: skip
        return sums.present()

    def _solve(self) -> Float[Tensor, "d_in_plus_1 d_plus_1"]:
        """The ridge regression's coefficients; the intercept, the last row, is not held back."""
        gram = self.drawn.gram
        n, d = float(gram[-1, -1]), len(gram) - 1
        square = gram.diagonal()[:-1].mean() / max(n, 1.0)
        variance = square - (gram[-1, :-1] / max(n, 1.0)).square().mean()
        held = torch.zeros(d + 1, dtype=torch.float64)
        held[:-1] = max(n, 1.0) * RIDGE * (variance if n > 1 else square).clamp(min=1e-30)  # one row has no variance
        held[-1] = 1e-30  # where nothing was drawn
        return torch.cholesky_solve(self.cross, torch.linalg.cholesky(gram + held.diag()))


def _with_one(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d_plus_1"]:
    return torch.cat([x, x.new_ones(len(x), 1)], 1)


def _square(x: Float[Tensor, "n d"]) -> Float[Tensor, "n 1"]:
    return torch.linalg.vecdot(x, x)[:, None]


start = LinearError
