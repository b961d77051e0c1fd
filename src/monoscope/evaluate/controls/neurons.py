"""Raw neurons at equal L0: each token's largest coordinates are kept, the rest set to zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.types import Code


@dataclass(frozen=True)
class Neurons:
    """The site's ``d`` coordinates as a dictionary whose codes keep the ``k`` largest by magnitude.

    A row with fewer than ``k`` coordinates that are not 0 keeps those.
    """

    d: int
    k: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.d:
            raise MonoscopeError(f"of {self.d} neurons {self.k} cannot be kept", fix=f"give a k from 1 to {self.d}")

    @property
    def n_features(self) -> int:
        """The number of neurons."""
        return self.d

    def encode(self, x: Float[Tensor, "n d"]) -> Code:
        """Each row's ``k`` largest coordinates by magnitude, with their signs."""
        indices = x.abs().topk(self.k, dim=1, sorted=False).indices
        values = x.gather(1, indices)
        keep = values != 0
        offsets = torch.zeros(len(x) + 1, dtype=torch.long, device=x.device)
        torch.cumsum(keep.sum(1), 0, out=offsets[1:])
        return Code(indices[keep], values[keep], offsets, self.d)

    def decode(self, code: Code, x: Float[Tensor, "n d"] | None = None) -> Float[Tensor, "n d"]:
        """The kept coordinates in their places."""
        return code.to_dense()
