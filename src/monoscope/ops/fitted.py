"""Amounts that are fitted together, as functions of the rows and of the atoms they were fitted with.

With the active atoms ``D`` of a row ``x`` and none of their amounts at 0, the fit is ``z = (D Dᵀ)⁻¹ D x``, which leaves
``r = x − Dᵀ z``. With ``g`` the gradient towards ``z``, ``λ = (D Dᵀ)⁻¹ g`` and ``u = Dᵀ λ``, atom ``a`` gets
``λ_a r − z_a u`` and the row gets ``u`` (Golub & Pereyra 1973).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops import weighted_rows
from monoscope.ops.nonnegative import Found
from monoscope.ops.room import room_like
from monoscope.ops.transpose import transpose
from monoscope.types import Code

SPACE = 1 << 22  # numbers in the atoms of a block of rows
RIDGE = 32  # on the diagonal, in units of rounding: atoms that are nearly one are told apart no better than that


def amounts(x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], found: Found) -> Float[Tensor, "n most"]:
    """``found.values``, differentiable in ``x`` and ``atoms`` with what was picked held fixed.

    Args:
        x, atoms: what ``found`` was made of.
        found: each row's active atoms and their fitted amounts.
    """
    return _Amounts.apply(x, atoms, found)


def reference(x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], found: Found) -> Float[Tensor, "n most"]:
    """Each row's fit written out, for autograd."""
    rows = []
    for row, picks in zip(x, found.picks, strict=True):
        active = atoms[picks[picks >= 0].long()]
        fit = torch.linalg.solve(active @ active.T, active @ row)
        rows.append(torch.nn.functional.pad(fit, (0, len(picks) - len(fit))))
    return torch.stack(rows)


class _Amounts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, atoms: Tensor, found: Found) -> Tensor:
        ctx.save_for_backward(atoms)
        ctx.found = found
        return found.values.detach()  # another tensor with the same numbers, so that it is not its own ancestor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (atoms,) = ctx.saved_tensors
        picks, values, residual = ctx.found
        shares, towards_x = torch.zeros_like(values), room_like(residual)
        most = int((picks >= 0).sum(1).max()) if len(picks) else 0
        size = max(1, SPACE // max(1, most * atoms.shape[1]))
        for first in range(0, len(picks), size):
            rows = slice(first, first + size)
            shares[rows, :most], towards_x[rows] = _solved(atoms, picks[rows, :most], grads[0][rows, :most])
        entries = Code.from_rows(picks, (picks >= 0).float(), len(atoms))
        on, by = picks >= 0, transpose(entries)
        towards_atoms = weighted_rows.scatter(by, shares[on], residual)
        towards_atoms -= weighted_rows.scatter(by, values[on], towards_x)
        return towards_x, towards_atoms, None


def _solved(atoms: Tensor, picks: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """``λ`` and ``u`` of some rows; where a row has fewer atoms than places, the last places are 0."""
    on = picks >= 0
    active = atoms[picks.clamp_min(0).long()] * on[:, :, None]
    gram = active @ active.mT
    gram.diagonal(dim1=1, dim2=2).add_(RIDGE * picks.shape[1] * torch.finfo(gram.dtype).eps + (~on).to(gram.dtype))
    factor = torch.linalg.cholesky(gram)
    shares = torch.cholesky_solve((gradient * on)[:, :, None], factor)
    return shares[:, :, 0], (shares.mT @ active)[:, 0]
