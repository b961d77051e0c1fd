"""Features that have stopped firing, and AuxK (Gao et al. 2024), which brings them back.

AuxK lets the dead features reconstruct what the living ones left over; see ``ops.leftover``.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from monoscope.dictionary.base import Dictionary
from monoscope.ops.leftover import leftover


class Silence(nn.Module):
    """For every feature, the tokens since it was last active. A buffer, so it is part of a checkpoint."""

    tokens: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("tokens", torch.zeros(n_features, dtype=torch.long))

    def hear(self, n_tokens: int, fired: Bool[Tensor, " n_features"]) -> None:
        """Count one batch of ``n_tokens``, on some of which ``fired`` features were active."""
        self.tokens += n_tokens
        self.tokens[fired] = 0

    def dead(self, after: int) -> Bool[Tensor, " n_features"]:
        """The features that were silent for at least ``after`` tokens."""
        return self.tokens >= after


def auxk(
    dictionary: Dictionary,
    x: Float[Tensor, "n d_in"],
    residual: Float[Tensor, "n d_out"],
    dead: Bool[Tensor, " n_features"],
    precision: torch.dtype = torch.float32,
    most: int | None = None,
) -> Float[Tensor, ""]:
    """The share of ``residual`` that the best dead features fail to explain; 0 when none is dead.

    Each row uses its ``most`` largest dead scores, by default ``d_out / 2``, or all of them when there are fewer.
    ``precision`` is that of the products.
    """
    places = dead.nonzero()[:, 0]
    if len(places) == 0:
        return x.new_zeros(())
    k = min(len(places), int(most or max(1, dictionary.d_out // 2)))
    weights = (dictionary.w_enc[places], dictionary.b_enc[places], dictionary.w_dec[places])
    return leftover(x, residual.detach(), weights, k, precision)
