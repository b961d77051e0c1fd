"""The encoder's product of a training batch and what is selected of it, tile by tile: no scores are kept.

On a CPU torch makes tiles, which are selected from while they are in the cache. On CUDA one kernel does
both, and only what exceeds a floor leaves its registers. The product is in the precision that is asked for.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops import devices, product
from monoscope.ops.above import Ragged, above_of_tiles
from monoscope.ops.largest import largest
from monoscope.ops.topk import topk_of_tiles
from monoscope.types import Code

SAMPLE = 64  # rows that the first guess of a batch's cut looks at
EASED = 0.9  # share of the guess that a score must exceed to be a candidate


def topk(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"],
    k: int, dtype: torch.dtype,
) -> Code:  # fmt: skip
    """The k largest scores ``x @ weightᵀ + bias`` of each row, those above 0; the product is made in ``dtype``."""
    if devices.on_cuda(x, weight, bias):
        from monoscope.ops.triton_kernels import select

        found = select.topk(x, weight, bias, k, dtype)
        if found is not None:
            offsets, columns, values = found
            return Code(columns, values, offsets, len(weight))
    return reference_topk(x, weight, bias, k, dtype)


def reference_topk(x: Tensor, weight: Tensor, bias: Tensor, k: int, dtype: torch.dtype) -> Code:
    """The same from tiles of scores."""
    indices, values = topk_of_tiles(product.tiles(x, weight, bias, dtype), len(x), k)
    return Code.from_rows(indices, values.float(), len(weight))


def above(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"],
    floor: float, k: int, dtype: torch.dtype,
) -> Ragged:  # fmt: skip
    """The scores that exceed ``floor`` (≥ 0); ``k`` is about how many of a row are expected."""
    if devices.on_cuda(x, weight, bias):
        from monoscope.ops.triton_kernels import select

        found = select.above(x, weight, bias, floor, k, dtype)
        if found is not None:
            offsets, columns, values = found
            return Ragged(offsets.diff(), columns, values)
    return reference_above(x, weight, bias, floor, dtype)


def reference_above(x: Tensor, weight: Tensor, bias: Tensor, floor: float, dtype: torch.dtype) -> Ragged:
    """The same from tiles of scores."""
    return above_of_tiles(product.tiles(x, weight, bias, dtype), len(x), floor)


def batch_topk(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"],
    wanted: int, guess: float, dtype: torch.dtype,
) -> Code:  # fmt: skip
    """The ``wanted`` largest scores of all rows together, those above 0; ties at the cut go to earlier rows.

    ``guess`` is about where the cut is, and so how many candidates there are: the last batch's. With 0 some rows tell
    first, so that not even the first batch makes candidates of all its scores.
    """
    k = -(-wanted // max(1, len(x)))
    if not guess:
        some = x[:SAMPLE]
        guess = float(least(largest(above(some, weight, bias, 0.0, k, dtype), k * len(some), len(weight))))
    floor = EASED * guess
    found = above(x, weight, bias, floor, k, dtype)
    while len(found.values) < wanted and floor > 0:
        floor = floor * 0.5 if floor > 1e-3 else 0.0
        found = above(x, weight, bias, floor, k, dtype)
    return largest(found, wanted, len(weight))


def least(code: Code) -> Float[Tensor, ""]:
    """The smallest value of a code; 0 of an empty one."""
    return code.values.min() if len(code.values) else code.values.new_zeros(())
