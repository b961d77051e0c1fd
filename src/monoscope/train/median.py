"""The geometric median of rows: a middle that a few far ones hardly move."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 1024  # rows whose distances are looked at together


def geometric_median(x: Float[Tensor, "n d"], steps: int = 50) -> Float[Tensor, " d"]:
    """The point of least summed distance to the rows (Weiszfeld 1937)."""
    point = x.mean(0)
    for _ in range(steps):
        weight = torch.cat([1 / (rows - point).norm(dim=1).clamp_min(1e-8) for rows in x.split(CHUNK)])
        new = weight @ x / weight.sum()
        if torch.allclose(new, point, rtol=1e-6, atol=1e-8):
            break
        point = new
    return point
