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
    shift: Tensor | None = None
    total = second = torch.zeros((), dtype=torch.float64)
    count = 0
    for x in blocks:
        if shift is None:  # near the mean, so that little cancels when the mean's part is taken off below
            shift = x.double().mean(0)
            total, second = torch.zeros_like(shift), shift.new_zeros(len(shift), len(shift))
        centred = x - shift.to(x)
        total += centred.sum(0, dtype=torch.float64)
        second += (centred.T @ centred).double()
        count += len(x)
    if shift is None or count <= k or not 1 <= k <= len(shift):
        width = 0 if shift is None else len(shift)
        raise MonoscopeError(
            f"{k} principal components cannot be fitted to {count} rows of {width}",
            fix="give more rows, or a smaller k",
        )
    offset = total / count
    covariance = second / count - torch.outer(offset, offset)
    _, vectors = torch.linalg.eigh(covariance)
    return PCA((shift + offset).float(), vectors[:, -k:].flip(1).T.float().contiguous())
