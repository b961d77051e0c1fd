"""Principal components at equal L0: the best linear code of so many numbers a token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.types import Code


@dataclass(frozen=True)
class PCA:
    """Keeps a row's projections on the first ``k`` principal components; every row uses the same ``k`` directions."""

    mean: Float[Tensor, " d"]
    components: Float[Tensor, "k d"]

    @property
    def n_features(self) -> int:
        """The number of components kept."""
        return len(self.components)

    def encode(self, x: Float[Tensor, "n d"]) -> Code:
        """Each row's projections, which may be negative."""
        projections = (x - self.mean.to(x)) @ self.components.to(x).T
        return Code.from_dense(projections)

    def decode(self, code: Code, x: Float[Tensor, "n d"] | None = None) -> Float[Tensor, "n d"]:
        """The mean plus the projections along the components."""
        return self.mean.to(code.values) + code.to_dense() @ self.components.to(code.values)


def fit_pca(blocks: Iterable[Float[Tensor, "n d"]], k: int) -> PCA:
    """Fit to activations that are given block by block; the text must not be that of the evaluation.

    Args:
        blocks: activations, ``(n, d)`` each; 100,000 rows settle the leading components of a few hundred.
        k: how many components; rounded L0 of the dictionary that is judged.

    Raises:
        MonoscopeError: there are fewer rows than components, or more components than dimensions.
    """
    count, mean, covariance = moments(blocks)
    if count <= k or not 1 <= k <= len(mean):
        raise MonoscopeError(
            f"{k} principal components cannot be fitted to {count} rows of {len(mean)}",
            fix="give more rows, or a smaller k",
        )
    _, vectors = torch.linalg.eigh(covariance)
    return PCA(mean.float(), vectors[:, -k:].flip(1).T.float().contiguous())


def moments(
    blocks: Iterable[Float[Tensor, "n d"]],
) -> tuple[int, Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """How many rows there are, their mean and their covariance, in double precision; empty where there are none."""
    shift = total = torch.zeros(0, dtype=torch.float64)
    second = torch.zeros(0, 0, dtype=torch.float64)
    count = 0
    for x in blocks:
        if not count:  # near the mean, so that little cancels when the mean's part is taken off below
            shift = x.double().mean(0)
            total, second = torch.zeros_like(shift), shift.new_zeros(len(shift), len(shift))
        centred = x - shift.to(x)
        total += centred.sum(0, dtype=torch.float64)
        second += (centred.T @ centred).double()
        count += len(x)
    offset = total / max(1, count)
    return count, shift + offset, second / max(1, count) - torch.outer(offset, offset)
