"""Meeting a mean L0 on rows that were not trained on: by a threshold, or by one shift of all encoder biases."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import product
from monoscope.ops.topk import topk


@torch.no_grad()
def calibrate(dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
    """Set the threshold that keeps ``dictionary.k`` features a row on average over ``x``.

    For the end of a training, with rows that were not trained on, and for files that were saved without a threshold.
    ``x`` is in the units that the dictionary reads; some thousand rows do.

    Raises:
        MonoscopeError: the architecture has no threshold of this kind, or no feature is active on ``x``.
    """
    if "threshold" not in dict(dictionary.named_buffers()) or "k" not in dictionary.settings:
        raise MonoscopeError(f"{dictionary.architecture} has no threshold to calibrate", fix="only batch_topk needs it")
    x, k = dictionary.check(x), int(dictionary.options()["k"])
    width = min(dictionary.n_features, 8 * k)  # a row with over 8 k active features would be cut short here
    best = [
        topk(scores, width)[1].flatten()
        for _, scores in product.blocks(x, dictionary.w_enc, dictionary.b_enc, torch.float32)
    ]
    values = torch.cat(best) if best else x.new_zeros(0)
    values = values[values > 0]
    if not len(values):
        raise MonoscopeError("no feature is active on these activations", fix="give activations of the right site")
    wanted = min(k * len(x), len(values) - 1)
    threshold = torch.topk(values, wanted + 1).values.min()
    dictionary.get_buffer("threshold").fill_(float(threshold))


def cut(blocks: Iterable[Tensor], wanted: int) -> float:
    """The largest number that ``wanted`` of all scores exceed: the next score after those.

    Args:
        blocks: the scores, in blocks of any shape; of each, only what can matter is kept.
        wanted: how many scores exceed the cut. With no more scores than that, the cut is the least of them.
    """
    kept, floor = torch.zeros(0), -torch.inf
    for scores in blocks:
        kept = torch.cat([kept.to(scores.device), scores[scores > floor].float()])
        if len(kept) > wanted + 1:
            kept = kept.topk(wanted + 1).values
            floor = float(kept[-1])
    return float(kept.min()) if len(kept) else 0.0


@torch.no_grad()
def shift_biases(
    dictionary: Dictionary, x: Float[Tensor, "n d_in"], l0: float, bias: Float[Tensor, " n_features"]
) -> None:
    """Add to all encoder biases the one number at which ``l0`` scores a row are positive, on average over ``x``.

    A penalty's weight is controlled while weights still move, so it leaves the L0 a little off; a common shift mends
    that without changing which features are compared with which.

    Args:
        dictionary: whose ``b_enc`` is shifted.
        x: rows that were not trained on, in the units that the dictionary reads.
        l0: the mean number of positive scores wanted.
        bias: what the scores add to ``x @ w_encᵀ``: ``b_enc``, with whatever the architecture folds into it.
    """
    blocks = product.blocks(x, dictionary.w_enc, bias, torch.float32)
    dictionary.b_enc.sub_(cut((scores for _, scores in blocks), max(1, round(l0 * len(x)))))
