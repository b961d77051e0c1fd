"""The atom with the largest inner product with each row, exactly, by one product of many rows with all atoms.

The product only *preselects*: of every group of atoms it leaves the largest inner product. Atoms of all groups in which
rounding could have hidden the best are scored again, of the row alone and always in the same order, so that a choice
does not depend on a row's neighbours by a single bit.

Of d numbers, added up in whatever order, an inner product is off by at most d 2⁻²⁴ of the product of both lengths. So
the product and what decides differ by twice that for an atom, and for two atoms by 4 d 2⁻²⁴ together.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops.kernels import inner, parallel
from monoscope.ops.room import room

WIDTH, MANY = 1024, 64  # atoms in a tile of so many rows' scores, which so is found in the cache; of fewer rows more
GROUP = 16  # atoms in a group: they lie as far apart in their tile as it has groups, so that maxima are made by vectors


def tile(n_rows: int) -> int:
    """How many atoms are looked at together for so many rows."""
    return WIDTH * max(1, MANY // max(1, n_rows))


def group_maxima(
    rows: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], width: int
) -> Float[np.ndarray, "n n_groups"]:
    """The largest inner product of each row with any atom of each group, but for the product's rounding.

    ``width``: atoms in a tile.
    """
    tiles, stride = -(-len(atoms) // width), width // GROUP
    out = np.empty((len(rows), tiles * stride), np.float32)
    space = room(len(rows) * min(width, len(atoms)))
    for at in range(tiles):
        some = atoms[at * width : (at + 1) * width]
        scores = torch.mm(rows, some.T, out=space[: len(rows) * len(some)].view(len(rows), len(some)))
        _maxima(scores.numpy(), at * stride, stride, out)
    return out


@parallel()
def _maxima(scores, first, stride, out):  # type: ignore[no-untyped-def]
    n, width = scores.shape
    for i in prange(n):
        most = out[i, first : first + stride]
        most[:] = -np.inf
        for part in range(0, width, stride):
            some = scores[i, part : part + stride]
            for g in range(len(some)):
                if some[g] > most[g]:
                    most[g] = some[g]


@njit(inline="always")
def dot(a, b):  # type: ignore[no-untyped-def]
    """In kernels: the inner product."""
    total = np.float32(0)
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@inner(fastmath={"contract", "reassoc"})
def nearest(maxima, width, row, atoms, length, least):  # type: ignore[no-untyped-def]
    """In kernels: the largest inner product above ``least`` and its atom, of equals the first; -1 if there is none.

    ``maxima``: the row's of ``group_maxima`` with that ``width``; ``length``: that of the longest atom.
    """
    stride = width // GROUP
    size = np.sqrt(dot(row, row))
    best, at = least, -1
    if size == 0:
        return best, at
    top = least
    for most in maxima:
        top = max(top, most)
    bound = top - np.float32((4 * len(row) + 16) * 2.0**-24 * length) * size
    for g in range(len(maxima)):
        if maxima[g] >= bound:
            begin = g // stride * width
            for f in range(begin + g % stride, min(len(atoms), begin + width), stride):
                score = dot(row, atoms[f])
                if score > best or (score == best and f < at):
                    best, at = score, f
    return best, at
