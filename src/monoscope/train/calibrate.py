"""Meeting a mean L0 on rows that were not trained on: by a threshold, or by one shift of all encoder biases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import product

ROWS = 256  # whose scores are held at once
PIECE = 1 << 18  # scores that are looked at together


@torch.no_grad()
def calibrate(dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
    """Set the threshold that keeps ``dictionary.k`` features a row on average over ``x``.

    For the end of a training, with rows of texts that were not trained on (on those that were, fewer features are
    active), and for files that were saved without a threshold. ``x`` is in the units that the dictionary reads; some
    thousand rows do.

    Raises:
        MonoscopeError: the architecture has no threshold of this kind, or no feature is active on ``x``.
    """
    if "threshold" not in dict(dictionary.named_buffers()) or "k" not in dictionary.settings:
        raise MonoscopeError(f"{dictionary.architecture} has no threshold to calibrate", fix="only batch_topk needs it")
    rows, k = dictionary.seen(x)[0], int(dictionary.options()["k"])
    threshold = cut(scores(dictionary, rows, dictionary.b_enc), k * len(rows), 0.0)
    if not threshold > 0:
        raise MonoscopeError("no feature is active on these activations", fix="give activations of the right site")
    dictionary.get_buffer("threshold").fill_(threshold)


def scores(
    dictionary: Dictionary, x: Float[Tensor, "n d_in"], bias: Float[Tensor, " n_features"]
) -> Iterator[Float[Tensor, "m n_features"]]:
    """``x @ w_encᵀ + bias``, a few rows at a time."""
    for rows in x.split(ROWS):
        yield from (block for _, block in product.blocks(rows, dictionary.w_enc, bias, torch.float32))


def cut(blocks: Iterable[Tensor], wanted: int, floor: float = -math.inf) -> float:
    """The largest number that ``wanted`` of all scores exceed: the next score after those.

    Args:
        blocks: the scores, in blocks of any shape; of each, only what can matter is kept.
        wanted: how many scores exceed the cut. With no more scores than that, the cut is the least of them.
        floor: scores up to it do not count.
    """
    kept, n = np.empty(wanted + 1 + 2 * PIECE, np.float32), 0  # negated: the largest scores come first
    for piece in (piece for block in blocks for piece in block.flatten().split(PIECE)):
        found = piece if floor == -math.inf else piece[piece > floor]
        np.negative(found.float().cpu().numpy(), out=kept[n : n + len(found)])
        n += len(found)
        if n > wanted + 1 + PIECE:
            kept[:n].partition(wanted)
            n, floor = wanted + 1, -float(kept[wanted])
    if n > wanted + 1:
        kept[:n].partition(wanted)
    return -float(kept[: min(n, wanted + 1)].max()) if n else 0.0


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
    dictionary.b_enc.sub_(cut(scores(dictionary, x, bias), max(1, round(l0 * len(x)))))
