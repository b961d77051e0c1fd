"""How often two features are active in the same row, for all pairs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops.transpose import ByFeature
from monoscope.types import Code


def reference(code: Code) -> Float[Tensor, "n_features n_features"]:
    """From the dense code."""
    active = (code.to_dense() != 0).float()
    return (active.T @ active).fill_diagonal_(0)


def coactive(code: Code, by: ByFeature) -> Float[Tensor, "n_features n_features"]:
    """The number of rows in which both features of a pair are active; 0 on the diagonal.

    Args:
        code: any code.
        by: ``transpose(code)``.
    """
    if code.indices.device.type != "cpu":
        return reference(code)
    out = np.zeros((code.n_features, code.n_features), np.float32)
    _count(code.indices.numpy(), code.offsets.numpy(), by.offsets.numpy(), by.rows.numpy(), out)
    return torch.from_numpy(out)


@njit(parallel=True, cache=True, nogil=True)
def _count(indices, offsets, owned, rows, out):  # type: ignore[no-untyped-def]
    for f in prange(len(out)):
        for e in range(owned[f], owned[f + 1]):
            for other in indices[offsets[rows[e]] : offsets[rows[e] + 1]]:
                out[f, other] += 1
        out[f, f] = 0
