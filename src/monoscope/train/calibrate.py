"""Setting the threshold of a BatchTopK dictionary: k features per row on average."""

from __future__ import annotations

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
