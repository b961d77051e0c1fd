"""The scores of a batch that a penalty method needs, as sparse entries with gradients.

A ReLU, and everything after it, has no gradient where the score is below 0; a kernel around a threshold has none beyond
its reach. So the entries above a floor are all there is, and what is computed on them is exact.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from monoscope.ops import product, sparse
from monoscope.ops.above import above
from monoscope.ops.transpose import transpose
from monoscope.types import Code


class Entries:
    """The scores ``x @ weightᵀ + bias`` that exceed ``floor``.

    Attributes:
        scores: one per entry, row after row; differentiable towards ``weight`` and ``bias``.
        features: the feature of each entry.
    """

    scores: Float[Tensor, " n_entries"]

    def __init__(
        self,
        x: Float[Tensor, "n d_in"],
        weight: Float[Tensor, "n_features d_in"],
        bias: Float[Tensor, " n_features"],
        precision: torch.dtype,
        floor: Float[Tensor, " n_features"] | None = None,
    ) -> None:
        with torch.no_grad():
            self.code = _above(x, weight, bias, precision, floor)
        self.by = transpose(self.code)
        self.features = self.code.indices.long()
        self.scores = sparse.active(x, weight, bias, self.code, self.by)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.code)

    def spread(self, parameter: Float[Tensor, " n_features"]) -> Float[Tensor, " n_entries"]:
        """One number per feature as one per entry; differentiable."""
        return parameter.index_select(0, self.features)

    def decode(
        self, amounts: Float[Tensor, " n_entries"], w_dec: Float[Tensor, "n_features d_out"]
    ) -> Float[Tensor, "n d_out"]:
        """The rows of ``w_dec`` that each row's entries name, weighted by ``amounts``; differentiable in both."""
        return sparse.decode(amounts, w_dec, self.code, self.by)

    def where(self, active: Bool[Tensor, " n_entries"]) -> Code:
        """The code of the entries that are ``active``."""
        if bool(active.all()):
            return self.code
        counts = torch.bincount(self.code.rows()[active], minlength=len(self))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Code(self.code.indices[active], self.code.values[active], offsets, self.code.n_features)


def _above(x: Tensor, weight: Tensor, bias: Tensor, precision: torch.dtype, floor: Tensor | None) -> Code:
    counts: list[Tensor] = []
    features: list[Tensor] = []
    values: list[Tensor] = []
    for _, scores in product.blocks(x, weight, bias if floor is None else bias - floor, precision):
        for column, part in zip((counts, features, values), above(scores, 0.0), strict=True):
            column.append(part)
    offsets = torch.zeros(len(x) + 1, dtype=torch.long, device=x.device)
    torch.cumsum(torch.cat(counts), 0, out=offsets[1:])
    indices, found = torch.cat(features), torch.cat(values)
    return Code(indices, found if floor is None else found + floor[indices.long()], offsets, len(weight))
