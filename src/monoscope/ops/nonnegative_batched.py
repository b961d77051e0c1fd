"""Non-negative pursuit of many rows together, in plain torch on any device.

Each row goes the way of ``nonnegative.reference``, a block of rows at a time. One product with the atoms finds the
candidates of all rows; those whose round goes on take their best off; once no row's round goes on, the amounts of all
rows that picked any are fitted anew, one sweep of coordinate descent for all of them at a time. What has ended, be it a
round, a fit or a pursuit, is left out of what follows. So a device is waited for once for a pick and once for a sweep,
however many rows there are.

Inner products of picked atoms with each other are made for every fit: nothing larger than a block's scores is kept.
Halves are widened to fp32, or fits would end in their rounding.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.ops.nonnegative import Found
from monoscope.ops.nonnegative_row import FEW, FITTED, ROUND, SWEEPS
from monoscope.ops.pursuit import NOISE

SPACE = 1 << 26  # numbers in a block's scores, in its candidates, and in picked atoms and their Gram matrices


def pursue(x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], floor: float, most: int) -> Found:
    """Each row's active atoms and their amounts, as ``nonnegative.pursue`` has them, in the type of ``x``."""
    wide = torch.promote_types(x.dtype, torch.float32)
    x, atoms, given = x.detach().to(wide), atoms.detach().to(wide), x.dtype
    size = max(1, SPACE // max(len(atoms), FEW * x.shape[1]))
    blocks = [_Block(rows, atoms, floor, most) for rows in x.split(size)]
    picks, values, left = (torch.cat(parts) for parts in zip(*(block.pursue() for block in blocks), strict=True))
    return Found(picks.int(), values.to(given), left.to(given))


class _Block:
    """Rows that take every step together. ``rows`` are places among them."""

    def __init__(self, x: Tensor, atoms: Tensor, floor: float, most: int) -> None:
        self.x, self.atoms, self.left = x, atoms, x.clone()
        self.floor = (NOISE * x.norm(dim=1)).clamp_min(floor)
        self.picks = torch.full((len(x), most), -1, device=x.device)
        self.values = x.new_zeros(len(x), most)
        self.count = torch.zeros(len(x), dtype=torch.long, device=x.device)

    def pursue(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rounds and fits, until no row picks any more: picks, values, and what is left."""
        rows = torch.arange(len(self.x), device=self.x.device)
        for _ in range(2 * self.picks.shape[1]):
            rows = self.round(rows)
            if not len(rows):
                break
            self.fit(rows)
        return self.picks, self.values, self.left

    def round(self, rows: Int[Tensor, " some"]) -> Int[Tensor, " fewer"]:
        """Take candidates off one after the other; returns the rows that had any taken off."""
        best, found = (self.left[rows] @ self.atoms.T).topk(min(FEW, len(self.atoms)), dim=1)
        enough = torch.maximum(self.floor[rows], ROUND * best[:, 0])[:, None]
        fresh = (self.picks[rows][:, :, None] != found[:, None, :]).all(1)
        found, order = found.sort(1)  # of equals the first is the one of the lower index
        scores = torch.where((best > enough) & fresh, best, -torch.inf).gather(1, order)
        begun, most = rows[:0], self.picks.shape[1]
        for step in range(most):
            best, place = scores.max(1)
            going = ((best > -torch.inf) & (self.count[rows] < most)).nonzero().squeeze(1)
            if not len(going):
                break
            rows, best, place, found, scores, enough = (t[going] for t in (rows, best, place, found, scores, enough))
            begun = rows if step == 0 else begun
            self.take(rows, best, found.gather(1, place[:, None]).squeeze(1))
            scores.scatter_(1, place[:, None], -torch.inf)
            now = torch.bmm(self.atoms[found], self.left[rows][:, :, None]).squeeze(2)
            scores = torch.where((scores > -torch.inf) & (now > enough), now, -torch.inf)
        return begun

    def take(self, rows: Int[Tensor, " some"], best: Float[Tensor, " some"], at: Int[Tensor, " some"]) -> None:
        """Take one atom off each row, all of it."""
        chosen, place = self.atoms[at], self.count[rows]
        amount = best / chosen.square().sum(1)
        self.picks[rows, place], self.values[rows, place] = at, amount
        self.left[rows] -= amount[:, None] * chosen
        self.count[rows] += 1

    def fit(self, rows: Int[Tensor, " some"]) -> None:
        """Fit all amounts, and drop atoms whose amount is 0."""
        width = int(self.count[rows].max())
        for some in rows.split(max(1, SPACE // (width * (width + self.x.shape[1])))):
            picks, x = self.picks[some, :width], self.x[some]
            chosen = self.atoms[picks.clamp_min(0)].mul_((picks >= 0)[:, :, None])
            inner = (chosen @ x[:, :, None]).squeeze(2)
            values = _fitted(chosen @ chosen.mT, inner, self.values[some, :width], FITTED * self.floor[some])
            active = values > 0
            order = active.logical_not().byte().argsort(dim=1, stable=True)  # gaps to the end
            self.picks[some, :width] = torch.where(active, picks, -1).gather(1, order)
            self.values[some, :width] = values.gather(1, order)
            self.count[some] = active.sum(1)
            self.left[some] = x - (values[:, None] @ chosen).squeeze(1)


def _fitted(
    gram: Float[Tensor, "n m m"],
    inner: Float[Tensor, "n m"],
    values: Float[Tensor, "n m"],
    tolerance: Float[Tensor, " n"],
) -> Float[Tensor, "n m"]:
    """The amounts of each row after as many sweeps as it needs for one that changes none by more than ``tolerance``."""
    lengths = gram.diagonal(dim1=1, dim2=2)
    lengths = torch.where(lengths > 0, lengths, 1)  # of no atom, 0
    # an amount is what its row of these times (amounts, 1) is, or 0
    rules = torch.cat([-gram, inner[:, :, None]], 2) / lengths[:, :, None]
    rules.diagonal(dim1=1, dim2=2).zero_()
    now = torch.nn.functional.pad(values, (0, 1), value=1.0)[:, :, None]
    fitted, rows = torch.empty_like(values), torch.arange(len(values), device=values.device)
    for _ in range(SWEEPS):
        before = now.clone()
        for rule, amount in zip(rules.split(1, 1), now.split(1, 1), strict=False):
            torch.clamp_min(torch.bmm(rule, now), 0, out=amount)
        fitted[rows] = now[:, :-1, 0]
        going = ((now - before).abs().amax((1, 2)) > tolerance).nonzero().squeeze(1)
        if not len(going):
            break
        rules, now, rows, tolerance = rules[going], now[going], rows[going], tolerance[going]
    return fitted
