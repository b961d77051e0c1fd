"""The linear maps around the residual stream: out of the neurons into it, and out of it into the logits.

A norm is linear once its scale is held fixed, which is how feature directions are read against the vocabulary
(*Towards Monosemanticity*, "logit weights"): its gain and, for LayerNorm, its centring remain.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn


def gain(norm: nn.Module, width: int) -> tuple[Float[Tensor, " d_model"], bool]:
    """A norm's gain, and whether it subtracts the mean; found by applying it, so that any kind of norm will do.

    Inputs of mean 0 and root mean square 1 come out times the gain, plus a bias that a second input of opposite sign
    cancels. They are scaled up so that the norm's epsilon vanishes.
    """
    norm = copy.deepcopy(norm).float().cpu()
    ones = torch.ones(width)
    ones[1::2] = -1
    if width % 2:
        ones[-3:] = torch.tensor([1.0, 1.0, -2.0]) / 2**0.5
    big = 1e3 * ones
    with torch.no_grad():
        up, down, shifted = norm(torch.stack([big, -big, big + 1e3]))
    return (up - down) / 2 / ones, torch.allclose(up, shifted, rtol=1e-3, atol=1e-5)


def matrix(module: nn.Module) -> Float[Tensor, "d_in d_out"] | None:
    """The matrix ``W`` of a linear module, ``x @ W + b``; None when it is no plain linear map."""
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Linear):
        return module.weight.detach().T
    return module.weight.detach() if isinstance(module, Conv1D) else None


def unembedding(
    final_norm: nn.Module | None, head: Float[Tensor, "vocabulary d_model"]
) -> Float[Tensor, "d_model vocab"]:
    """From the residual stream to the logits with the final norm's scale held fixed: gain folded in, mean-centred."""
    weights = head.detach().float().T
    if final_norm is None:
        return weights.clone()
    factor, centred = gain(final_norm, len(weights))
    weights = factor.to(weights.device)[:, None] * weights
    return weights - weights.mean(0) if centred else weights


def from_neurons(down: nn.Module, norm: nn.Module | None) -> Float[Tensor, "d_mlp d_model"] | None:
    """From ``mlp_act`` to the residual stream; through a norm on the way, with its scale held fixed."""
    weights = matrix(down)
    if weights is None:
        return None
    weights = weights.float().clone()
    if norm is None:
        return weights
    factor, centred = gain(norm, weights.shape[1])
    weights = weights - weights.mean(1, keepdim=True) if centred else weights
    return weights * factor.to(weights.device)
