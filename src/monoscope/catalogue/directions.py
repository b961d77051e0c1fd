"""What can be read off a feature's direction alone: its nearest features, the tokens it promotes, its coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 512  # features at once


@dataclass(frozen=True)
class Head:
    """The direct way from what a feature writes to all logits (see ``logit_weights``), and what the tokens are.

    ``pull`` is relative to the mean over the vocabulary; ``spellings[token]`` are the token's bytes, None for an id
    that the tokenizer lacks.
    """

    pull: Float[np.ndarray, "d_out vocabulary"]
    spellings: Sequence[bytes | None]


@torch.no_grad()
def logit_effects(
    direction: Float[Tensor, " d_site"],
    to_residual: Float[Tensor, "d_site d_model"],
    unembedding: Float[Tensor, "d_model vocabulary"],
) -> Float[Tensor, " vocabulary"]:
    """What one direction adds to every logit, in logits per unit of activation; see ``logit_weights``."""
    weights = direction.detach().float() @ to_residual.float() @ unembedding.float()
    return (weights - weights.mean()).cpu()


@torch.no_grad()
def coordinates(
    direction: Float[Tensor, " d_site"], count: int = 10
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"], Float[Tensor, " k"]]:
    """The largest entries of a direction of either sign, and each one's share of the sum of all absolute entries.

    At ``mlp_act`` the entries are neurons, and a share near 1 says that the feature is one of them.
    """
    size = direction.detach().float().cpu()
    chosen = size.abs().topk(min(count, len(size))).indices
    return chosen, size[chosen], size[chosen].abs() / size.abs().sum().clamp_min(torch.finfo(size.dtype).tiny)


@torch.no_grad()
def neighbours(
    directions: Float[Tensor, "n_features d"], count: int = 10
) -> tuple[Int[Tensor, "n_features k"], Float[Tensor, "n_features k"]]:
    """Each feature's nearest others by the cosine between directions, nearest first."""
    unit = torch.nn.functional.normalize(directions.detach().float(), dim=1)
    count = min(count, len(unit) - 1)
    ids, cosines = [], []
    for first in range(0, len(unit), BLOCK):
        cosine = unit[first : first + BLOCK] @ unit.T
        here = torch.arange(len(cosine), device=unit.device)
        cosine[here, here + first] = -torch.inf
        best = cosine.topk(count, dim=1)
        ids.append(best.indices.cpu())
        cosines.append(best.values.cpu())
    return torch.cat(ids), torch.cat(cosines)


@torch.no_grad()
def logit_weights(
    directions: Float[Tensor, "n_features d_site"],
    to_residual: Float[Tensor, "d_site d_model"],
    unembedding: Float[Tensor, "d_model vocabulary"],
    count: int = 10,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The tokens that each feature promotes and suppresses, with their weights in logits per unit of activation.

    ``direction → residual stream → final norm's gain → unembedding``, the path without any later layer; the norm's
    scale, which is the same for all tokens, is left out. Weights are relative to the mean over the vocabulary, since
    only differences of logits count.

    Returns:
        (ids, weights) promoted, largest first; (ids, weights) suppressed, least first; each ``(n_features, count)``.
    """
    count = min(count, unembedding.shape[1])
    high, low = [], []
    centred = unembedding.float() - unembedding.float().mean(1, keepdim=True)
    for first in range(0, len(directions), BLOCK):
        weights = directions[first : first + BLOCK].detach().float() @ to_residual.float() @ centred
        high.append(weights.topk(count, dim=1))
        low.append(weights.topk(count, dim=1, largest=False))
    promoted = torch.cat([h.indices.cpu() for h in high]), torch.cat([h.values.cpu() for h in high])
    suppressed = torch.cat([s.indices.cpu() for s in low]), torch.cat([s.values.cpu() for s in low])
    return promoted, suppressed
