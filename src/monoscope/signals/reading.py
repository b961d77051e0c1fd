"""Everything that is read at one site with one dictionary, or with vectors: a column for each direction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.signals.direction import Direction
from monoscope.signals.features import Watched


@dataclass
class Reading:
    """Columns are asked for first (``column``); ``read`` then fills ``found`` for the rows of a pass."""

    dictionary: Dictionary | None
    features: list[int] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)
    whole: bool = False  # encode every feature, and keep the code
    watched: Watched | None = None
    found: Tensor | None = None  # (n, columns) of the pass under way

    def column(self, direction: Direction, vector: Tensor | None) -> int:
        """Where the value of a feature or vector will stand."""
        held: list[Any] = self.features if vector is None else self.vectors
        if vector is None and direction.feature in self.features:
            return self.features.index(direction.feature)
        held.append(direction.feature if vector is None else vector)
        return len(held) - 1

    def begin(self) -> None:
        """Make ready what reading needs, once all columns are asked for; ``read`` does it where nobody did."""
        if self.dictionary is not None and self.watched is None:
            self.watched = Watched(self.dictionary, self.features, whole=self.whole)

    def read(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n columns"]:
        """Read all values of some rows."""
        self.begin()
        if self.watched is not None:
            self.found = self.watched.values(x)
        else:
            self.found = x @ torch.stack(self.vectors).to(x.device).T
        return self.found
