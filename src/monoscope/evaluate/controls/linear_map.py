"""The best linear map through so few numbers: what a transcoder has to beat at equal L0.

Reduced-rank regression (Izenman 1975): the least-squares map from the rows of one site to those of another, narrowed to
its ``k`` leading directions. Of a site onto itself it is the principal components.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.evaluate.controls.pca import moments
from monoscope.types import Code

RIDGE = 1e-6  # of the mean variance of a coordinate, so that directions in which nothing varies are no obstacle


@dataclass(frozen=True)
class LinearMap:
    """Reads ``k`` linear functions of a row, and writes ``k`` directions; every row uses them all."""

    mean_in: Float[Tensor, " d_in"]
    mean_out: Float[Tensor, " d_out"]
    reads: Float[Tensor, "k d_in"]
    writes: Float[Tensor, "k d_out"]

    @property
    def n_features(self) -> int:
        """The rank of the map."""
        return len(self.reads)

    def encode(self, x: Float[Tensor, "n d_in"]) -> Code:
        """What each row is worth along every direction that is written; may be negative."""
        return Code.from_dense((x - self.mean_in.to(x)) @ self.reads.to(x).T)

    def decode(self, code: Code, x: Float[Tensor, "n d_in"] | None = None) -> Float[Tensor, "n d_out"]:
        """The target's mean plus the directions."""
        return self.mean_out.to(code.values) + code.to_dense() @ self.writes.to(code.values)


def fit_linear_map(blocks: Iterable[tuple[Float[Tensor, "n d_in"], Float[Tensor, "n d_out"]]], k: int) -> LinearMap:
    """Fit to pairs of rows that are given block by block; the text must not be that of the evaluation.

    Args:
        blocks: the rows that are read, beside those of the target.
        k: the rank; rounded L0 of the transcoder that is judged.

    Raises:
        MonoscopeError: there are no more rows than ``k``, or a target of fewer dimensions.
    """
    d_in = 0

    def joined() -> Iterable[Float[Tensor, "n d_in_plus_d_out"]]:
        nonlocal d_in
        for x, y in blocks:
            d_in = x.shape[1]
            yield torch.cat([x, y], 1)

    count, mean, covariance = moments(joined())
    d_out = len(mean) - d_in
    if count <= k or not 1 <= k <= d_out:
        raise MonoscopeError(
            f"a linear map through {k} numbers cannot be fitted to {count} rows of {d_out}",
            fix="give more rows, or a smaller k",
        )
    read, both = covariance[:d_in, :d_in].clone(), covariance[:d_in, d_in:]
    read.diagonal().add_(RIDGE * read.diagonal().mean().clamp(min=1e-30))
    whole = torch.cholesky_solve(both, torch.linalg.cholesky(read))
    _, vectors = torch.linalg.eigh(both.T @ whole)
    writes = vectors[:, -k:].flip(1).T
    reads = writes @ whole.T
    return LinearMap(mean[:d_in].float(), mean[d_in:].float(), reads.float(), writes.float().contiguous())
