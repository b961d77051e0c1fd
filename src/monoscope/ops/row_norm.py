"""Layer norm of rows, each by itself: what a row is beside its own mean, in units of its own spread; or only that.

As in the code that came with Gao et al. 2024, and in SAELens: the spread is the standard deviation over the row's
numbers with one degree of freedom less, and ``EPS`` is added to it in dividing, not in multiplying back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops.room import room

EPS = 1e-5


class Normed(NamedTuple):
    """``rows · (spread + EPS) + mean`` is what was normalised."""

    rows: Float[Tensor, "n d"]
    mean: Float[Tensor, "n 1"]
    spread: Float[Tensor, "n 1"]


def normed(x: Float[Tensor, "n d"]) -> Normed:
    """Rows of at least two numbers, normalised, in fp32; a row without spread becomes zeros. No gradient passes.

    A row's numbers do not depend on its neighbours.
    """
    if len(x) == 1:  # torch would share out the sum over a long row that is alone, and round it otherwise
        return Normed(*(part[:1] for part in normed(x.expand(2, -1))))
    x = x.detach().float().contiguous()
    mean = x.mean(1, keepdim=True)
    rows = torch.sub(x, mean, out=room(*x.shape, device=x.device))
    spread = torch.linalg.vector_norm(rows, dim=1, keepdim=True) / math.sqrt(x.shape[1] - 1)
    return Normed(rows.div_(spread + EPS), mean, spread)


class Centred(NamedTuple):
    """``rows + mean`` is what was centred."""

    rows: Float[Tensor, "n d"]
    mean: Float[Tensor, "n 1"]


def centred(x: Float[Tensor, "n d"]) -> Centred:
    """Rows less their own means, in fp32. No gradient passes, and a row's numbers do not depend on its neighbours."""
    if len(x) == 1:
        return Centred(*(part[:1] for part in centred(x.expand(2, -1))))
    x = x.detach().float().contiguous()
    mean = x.mean(1, keepdim=True)
    return Centred(x - mean, mean)
