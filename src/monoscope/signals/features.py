"""Some features of a dictionary, read row by row at the cost of those features alone where that is exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary


class Watched:
    """The values of some features; what a full ``encode`` gives, without the other features where they don't matter."""

    def __init__(self, dictionary: Dictionary, features: Sequence[int]) -> None:
        """Choose the features.

        Raises:
            MonoscopeError: the dictionary has no such feature.
        """
        self.dictionary, self.features = dictionary, tuple(int(f) for f in features)
        self._alone = dictionary.subset(self.features) if dictionary.independent else None
        if self._alone is None:
            dictionary.check_features(self.features)

    def values(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n_watched"]:
        """How strongly each of the features is active in each row, 0 where it is not."""
        if self._alone is not None:
            return self._alone.encode(x).to_dense()
        code = self.dictionary.encode(x)
        column = torch.full((self.dictionary.n_features,), -1, device=x.device)
        column[list(self.features)] = torch.arange(len(self.features), device=x.device)
        columns = column[code.indices.long()]
        kept = columns >= 0
        found = code.values.new_zeros(len(code), len(self.features))
        found[code.rows()[kept], columns[kept]] = code.values[kept]
        return found
