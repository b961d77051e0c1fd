"""Non-negative pursuit: explain each row by few atoms, each of a positive amount, all amounts fitted together.

Atoms are picked in rounds. A round's candidates are the ``FEW`` atoms with the largest inner products with what is
left, those that exceed ``ROUND`` times the largest. One candidate after the other is taken off, as in matching pursuit:
the one with the largest inner product with what is left by then; one that has fallen below that share is out. Then the
amounts of all active atoms are fitted anew, by coordinate descent for non-negative least squares; an atom whose amount
falls to 0 is dropped. It ends where no atom's inner product with what is left exceeds ``floor``, so rows have as many
active atoms as they need. What comes out meets the optimality conditions of non-negative least squares to within
``floor``: what is left is orthogonal to every active atom, and no other atom would take off more than ``floor``.

So all atoms are looked at once a round, and not at every pick. Their inner products come of one product of many rows,
in the machine's fastest precision. In fp32, where the Gram matrix of all atoms is kept or worth making, they are
brought up to date by its rows instead, which are held in 16 bits. Either way these numbers only *preselect*: all that
decides is computed of the row alone, in one order, so that a row's code does not depend on its neighbours by a single
bit.

On other devices ``ops.nonnegative_batched`` does the same for many rows together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.ops import product
from monoscope.ops.nonnegative_row import FEW, FITTED, ROUND, SHORT, SWEEPS, numbers, pursue_rows, rounds
from monoscope.ops.pursuit import NOISE, SCORES, longest, worth_it
from monoscope.ops.room import room, room_like
from monoscope.ops.topk import BITS, BY
from monoscope.types import Code

ROUNDS = 7  # of a row, about
MANY = 64  # rows for which it is worth it to round all atoms to a faster precision, if there is one
BLOCK, ROWS = 3 << 20, 256  # inner products that are made at once; of so many rows at least: all atoms are read for it
ROUGH = {torch.bfloat16: 1.01 * 2.0**-8, torch.float32: 0.0}  # what rounding both operands may do to a product
HEIGHTS = 4  # of such a product: of each height that ever was, torch keeps the code that it was made with


class Found(NamedTuple):
    """Each row's active atoms (-1 where there are no more) and their amounts, and what they leave of the row."""

    picks: Int[Tensor, "n most"]
    values: Float[Tensor, "n most"]
    residual: Float[Tensor, "n d"]

    def code(self, n_features: int) -> Code:
        """The rows as a code."""
        return Code.from_rows(self.picks, self.values, n_features)


def reference(x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], floor: float, most: int) -> Found:
    """The same in plain torch, row by row, with every inner product made when it is needed."""
    found = [_reference_row(row, atoms, max(floor, NOISE * float(row.norm())), most) for row in x]
    if not found:
        return Found(x.new_zeros(0, most, dtype=torch.int32), x.new_zeros(0, most), x.clone())
    picks = [torch.tensor(active + [-1] * (most - len(active)), dtype=torch.int32) for active, _ in found]
    values = [torch.nn.functional.pad(amounts, (0, most - len(amounts))) for _, amounts in found]
    residual = [row - amounts @ atoms[active] for row, (active, amounts) in zip(x, found, strict=True)]
    return Found(torch.stack(picks).to(x.device), torch.stack(values), torch.stack(residual))


def _reference_row(row: Tensor, atoms: Tensor, floor: float, most: int) -> tuple[list[int], Tensor]:
    active: list[int] = []
    amounts = row.new_zeros(0)
    for _ in range(2 * most):
        first, left = len(active), row - amounts @ atoms[active]
        scores = atoms @ left
        enough = max(floor, ROUND * float(scores.max()))
        largest = scores.sort(descending=True, stable=True).indices[:FEW].tolist()
        candidates = sorted(at for at in largest if scores[at] > enough and at not in active)
        while candidates and len(active) < most:
            scores = atoms[candidates] @ left
            best, at = float(scores.max()), candidates[int(scores.argmax())]
            active.append(at)
            amounts = torch.cat([amounts, (best / atoms[at].square().sum()).view(1)])
            left = left - amounts[-1] * atoms[at]
            now = (atoms[candidates] @ left).tolist()
            candidates = [c for c, score in zip(candidates, now, strict=True) if score > enough and c != at]
        if len(active) == first:
            break
        amounts = _reference_fit(atoms[active] @ atoms[active].T, atoms[active] @ row, amounts, FITTED * floor)
        active = [at for at, amount in zip(active, amounts.tolist(), strict=True) if amount > 0]
        amounts = amounts[amounts > 0]
    return active, amounts


def _reference_fit(gram: Tensor, inner: Tensor, amounts: Tensor, tolerance: float) -> Tensor:
    amounts = amounts.clone()
    for _ in range(SWEEPS):
        before = amounts.clone()
        for a in range(len(amounts)):
            amounts[a] = ((inner[a] - gram[a] @ amounts) / gram[a, a] + amounts[a]).clamp_min(0)
        if float((amounts - before).abs().max()) <= tolerance:
            break
    return amounts


def pursue(x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], floor: float, most: int) -> Found:
    """Each row's active atoms and their amounts; ties go to the lower index. See the module's text.

    Args:
        x: what is explained; any part that no atom is for, such as a bias, already taken off.
        atoms: rows, usually of unit norm.
        floor: the largest inner product with what is left that is left alone, in units of ``x``.
        most: the largest number of active atoms of a row.
    """
    own, x, atoms = atoms, x.detach(), atoms.detach()
    if x.device.type != "cpu":  # row by row is no work for a device
        from monoscope.ops import nonnegative_batched

        return nonnegative_batched.pursue(x, atoms, floor, most)
    if any(t.dtype != torch.float32 for t in (x, atoms)):
        return reference(x, atoms, floor, most)
    x, atoms = x.contiguous(), atoms.contiguous()
    picks, values = room(len(x), most, dtype=torch.int32).fill_(-1), room(len(x), most).zero_()
    found = Found(picks, values, room_like(x).copy_(x))
    dtype = product.fastest() if len(x) >= MANY else torch.float32
    gram = worth_it(own, len(x), ROUNDS) if dtype == torch.float32 else None
    if gram is None:
        _by_products(x, atoms, dtype, floor, found)
        return found
    for first, scores in product.blocks(x, atoms, atoms.new_zeros(len(atoms)), torch.float32, SCORES):
        rows = slice(first, first + len(scores))
        arrays = (t[rows].numpy() for t in (x, *found))
        pursue_rows(scores.numpy(), atoms.numpy(), *gram, floor, *arrays)
    return found


def _by_products(x: Tensor, atoms: Tensor, dtype: torch.dtype, floor: float, found: Found) -> None:
    """Without a Gram matrix: for each round one product of a block of rows with the atoms."""
    rounded = room(*atoms.shape, dtype=dtype).copy_(atoms).T
    rough = np.float32(ROUGH[dtype] + (4 * x.shape[1] + 16) * 2.0**-24) * longest(atoms)
    size, most = max(1, min(len(x), max(ROWS, BLOCK // len(atoms)))), found.picks.shape[1]
    step = -(-size // HEIGHTS)
    space, held = (room(step * HEIGHTS, width, dtype=dtype) for width in (len(atoms), x.shape[1]))
    held.zero_()
    for block in zip(*(t.split(size) for t in (x, *found)), strict=True):
        arrays = [t.numpy() for t in block]
        rows, counts = np.arange(len(arrays[0])), np.zeros(len(arrays[0]), np.int64)
        known = np.empty(0, np.float32), np.zeros(len(rows), np.int64)
        for _ in range(2 * most):
            held[: len(rows)] = block[-1][torch.from_numpy(rows)]
            height = -(-len(rows) // step) * step
            bits = torch.mm(held[:height], rounded, out=space[:height]).view(BITS[dtype]).numpy()
            begins = np.concatenate([[0], numbers(np.minimum(counts[rows] + FEW, most // SHORT)).cumsum()])
            more = room(int(begins[-1])).numpy(), begins[:-1]
            going = np.zeros(len(rows), np.bool_)
            rounds(bits, BY[dtype], rough, rows, atoms.numpy(), floor, *arrays, counts, *known, *more, going)
            rows, known = rows[going], (more[0], more[1][going])
            if not len(rows):
                break
