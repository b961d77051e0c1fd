"""Some features of a dictionary, read row by row at the cost of those features alone where that is exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops.encode import Few
from monoscope.types import Code


class Watched:
    """The values of some features; what a full ``encode`` gives, without the other features where they don't matter.

    The dictionary's encoder must not change any more.
    """

    def __init__(self, dictionary: Dictionary, features: Sequence[int], *, whole: bool = False) -> None:
        """Choose the features.

        Args:
            dictionary: theirs.
            features: their numbers.
            whole: encode all features whatever they cost, and keep the last rows' ``code``.

        Raises:
            MonoscopeError: the dictionary has no such feature.
        """
        self.dictionary, self.features = dictionary, tuple(int(f) for f in features)
        self.code: Code | None = None
        dictionary.check_features(self.features)
        gates = None if whole else dictionary.gates()
        self._alone = None if gates is None else Few(gates, self.features)
        if gates is None:
            dictionary.make_ready()
        self._column = torch.full((dictionary.n_features,), -1)
        self._column[list(self.features)] = torch.arange(len(self.features))

    @property
    def whole(self) -> bool:
        """Whether all features are encoded, and ``code`` kept."""
        return self._alone is None

    def values(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n n_watched"]:
        """How strongly each of the features is active in each row, 0 where it is not."""
        if self._alone is not None:
            rows, unit = self.dictionary.seen(x)
            values = self._alone(rows)
            return values if unit is None else values * unit
        self.code = code = self.dictionary.encode(x)
        columns = self._column.to(x.device)[code.indices.long()]
        kept = columns >= 0
        found = code.values.new_zeros(len(code), len(self.features))
        found[code.rows()[kept], columns[kept]] = code.values[kept]
        return found
