"""Non-negative pursuit: explain each row by few atoms, each of a positive amount, all amounts fitted together.

Atoms are picked in rounds. In a round one atom after the other is taken off, as in matching pursuit: the one with the
largest inner product with what is left, as long as that exceeds ``ROUND`` times the round's first and the atom is not
active yet. Then the amounts of all active atoms are fitted anew, by coordinate descent for non-negative least squares;
an atom whose amount falls to 0 is dropped. It ends where no atom's inner product with what is left exceeds ``floor``,
so rows have as many active atoms as they need. What comes out meets the optimality conditions of non-negative least
squares to within ``floor``: what is left is orthogonal to every active atom, and no other atom would take off more than
``floor``.

The kernel keeps every atom's inner product with what is left up to date by rows of the Gram matrix, which is held in 16
bits. These numbers only *preselect*, as in ``ops.pursuit``: all that decides is computed of the row alone, in one
order, so that a row's code does not depend on its neighbours by a single bit.

On other devices ``ops.nonnegative_batched`` does the same for many rows together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from monoscope.ops import product
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.pursuit import LARGEST, NOISE, NONE, OFF, SCORES, gram_matrix, near_best, room_for_best
from monoscope.ops.room import room_like
from monoscope.ops.weighted_rows import weighted
from monoscope.types import Code

ROUND = 0.5  # of a round's first inner product: what ends the round
SWEEPS = 100  # of a fit, at most
FITTED = 1e-3  # of what ends the pursuit: the largest change by a sweep that ends a fit


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
        first, enough, left = len(active), floor, row - amounts @ atoms[active]
        while len(active) < most:
            scores = atoms @ left
            best, at = float(scores.max()), int(scores.argmax())
            if best <= enough or at in active:
                break
            enough = max(floor, ROUND * best) if len(active) == first else enough
            active.append(at)
            amounts = torch.cat([amounts, (best / atoms[at].square().sum()).view(1)])
            left = left - amounts[-1] * atoms[at]
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
    x, atoms = x.detach(), atoms.detach()
    if x.device.type != "cpu":  # row by row is no work for a device
        from monoscope.ops import nonnegative_batched

        return nonnegative_batched.pursue(x, atoms, floor, most)
    if any(t.dtype != torch.float32 for t in (x, atoms)):
        return reference(x, atoms, floor, most)
    x, atoms = x.contiguous(), atoms.contiguous()
    left = room_like(x).copy_(x)
    picks, values = np.full((len(x), most), -1, np.int32), np.zeros((len(x), most), np.float32)
    worth = len(x) * min(most, 8) >= len(atoms) and len(atoms) ** 2 <= LARGEST
    gram = gram_matrix(atoms) if worth else NONE
    length = float(atoms.norm(dim=1).max()) * 1.001
    for first, scores in product.blocks(x, atoms, atoms.new_zeros(len(atoms)), torch.float32, SCORES):
        rows = slice(first, first + len(scores))
        _pursue(
            scores.numpy(), x[rows].numpy(), left[rows].numpy(), atoms.numpy(), gram.multiples, gram.grain,
            length, floor, picks[rows], values[rows],
        )  # fmt: skip
    return Found(torch.from_numpy(picks), torch.from_numpy(values), left)


@njit(inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@njit(inline="always")
def _take(scores, left, atoms, gram, grain, at, amount):  # type: ignore[no-untyped-def]
    """Take so much of an atom off what is left, and bring all inner products up to date."""
    for j in range(atoms.shape[1]):
        left[j] -= amount * atoms[at, j]
    by = amount * grain
    for f in range(len(scores)):
        scores[f] -= by * np.float32(gram[at, f]) if len(gram) else amount * _dot(atoms[at], atoms[f])


@njit(inline="always")
def _four(picks, a, m):  # type: ignore[no-untyped-def]
    """Four picks from ``a`` on; where there are fewer among the first ``m``, the last of these again."""
    last = m - 1
    return picks[a], picks[min(a + 1, last)], picks[min(a + 2, last)], picks[min(a + 3, last)]


@njit(inline="always")
def _change(scores, gram, grain, picks, amounts, m):  # type: ignore[no-untyped-def]
    """Bring all inner products up to date with amounts of ``m`` atoms that are taken off; after them come zeros."""
    for a in range(0, m, 4):  # four at once: one read and one write of a score for four of the matrix
        one, two, three, four = _four(picks, a, m)
        p, q, r, s = amounts[a] * grain, amounts[a + 1] * grain, amounts[a + 2] * grain, amounts[a + 3] * grain
        for f in range(len(scores)):
            first = p * np.float32(gram[one, f]) + q * np.float32(gram[two, f])
            scores[f] -= first + (r * np.float32(gram[three, f]) + s * np.float32(gram[four, f]))


@inner(fastmath={"contract", "reassoc"})
def _best(left, atoms, active, slack, enough, work):  # type: ignore[no-untyped-def]
    """The atom with the largest inner product with ``left``, exactly; -1 if not above ``enough``, or active."""
    count, places = near_best(enough, slack, work)
    best, at = enough, -1
    for c in range(count):
        score = _dot(left, atoms[places[c]])
        if score > best or (score == best and places[c] < at):
            best, at = score, places[c]
    for a in active:
        if a == at:
            return best, -1
    return best, at


@inner(fastmath={"contract", "reassoc"})
def _fit(gram, inner, amounts, m, tolerance):  # type: ignore[no-untyped-def]
    """Coordinate descent on the first ``m`` amounts."""
    slopes = inner[:m].copy()
    for a in range(m):
        for b in range(m):
            slopes[b] -= amounts[a] * gram[a, b]
    for _ in range(SWEEPS):
        moved = np.float32(0)
        for a in range(m):
            more = max(slopes[a] / gram[a, a], -amounts[a])
            for b in range(m):
                slopes[b] -= more * gram[a, b]
            moved = max(moved, abs(more))
            amounts[a] += more
        if moved <= tolerance:
            break


@inner
def _drop(gram, inner, active, amounts, m):  # type: ignore[no-untyped-def]
    """Close the gaps that amounts of 0 leave; returns how many are active."""
    at = 0
    while at < m and amounts[at] > 0:
        at += 1
    for a in range(at, m):
        if amounts[a] > 0:
            active[at], amounts[at], inner[at] = active[a], amounts[a], inner[a]
            for b in range(m):
                gram[at, b] = gram[a, b]
            for b in range(m):
                gram[b, at] = gram[b, a]
            at += 1
    active[at:m] = -1
    amounts[at:m] = 0
    return at


@inner(fastmath={"contract", "reassoc"})
def _round(scores, x, left, atoms, gram, grain, length, own, inner, picks, values, m, stop, hidden, moved, work):  # type: ignore[no-untyped-def]
    """Take atoms off one after the other; returns how many are active, and how far scores have moved in all.

    ``hidden``: what rounding may have hidden of two scores, in units of that.
    """
    first, enough = m, stop
    while m < len(picks):
        slack = (hidden + (m - first) * np.float32(2.0**-22) * length) * moved
        best, at = _best(left, atoms, picks[:m], slack, enough, work)
        if at < 0:
            break
        if m == first:
            enough = max(stop, np.float32(ROUND) * best)
        for a in range(m):
            own[a, m] = own[m, a] = _dot(atoms[picks[a]], atoms[at])
        own[m, m], inner[m] = _dot(atoms[at], atoms[at]), _dot(atoms[at], x)
        picks[m], values[m] = at, best / own[m, m]
        _take(scores, left, atoms, gram, grain, at, values[m])
        moved += values[m] * length
        m += 1
    return m, moved


@inner(fastmath={"contract", "reassoc"})
def _settle(scores, x, left, atoms, gram, grain, own, inner, picks, values, m, tolerance):  # type: ignore[no-untyped-def]
    """Fit all amounts and drop those of 0; returns how many are active, and by how much amounts have moved."""
    more, moved = np.zeros(m + 3, np.float32), np.float32(0)
    for a in range(m):
        more[a] = -values[a]
    _fit(own, inner, values, m, tolerance)
    for a in range(m):
        more[a] += values[a]
        moved += abs(more[a])
    if len(gram):
        _change(scores, gram, grain, picks, more, m)
    m = _drop(own, inner, picks, values, m)
    weighted(left, picks, values, m, atoms)
    for j in range(len(x)):
        left[j] = x[j] - left[j]
    if not len(gram):
        for f in range(len(scores)):
            scores[f] = _dot(left, atoms[f])
    return m, moved


@inner(fastmath={"contract", "reassoc"})
def _pursue_row(scores, x, left, atoms, gram, grain, length, floor, picks, values):  # type: ignore[no-untyped-def]
    most = len(picks)
    work = room_for_best(scores)
    own, inner = np.empty((most, most), np.float32), np.empty(most, np.float32)
    moved = np.sqrt(_dot(x, x))
    stop = np.float32(max(floor, moved * NOISE))
    m, updates = np.int64(0), 2 * atoms.shape[1] + 8  # of one type throughout, or what takes it is compiled twice
    for _ in range(2 * most):
        hidden = np.float32(updates * 2.0**-22 * length + 2 * OFF * grain / length)
        first = m
        m, moved = _round(
            scores, x, left, atoms, gram, grain, length, own, inner, picks, values, m, stop, hidden, moved, work
        )
        if m == first:
            break
        updates += 2 * m + 4  # a pick rounds a score twice, and a fit once for each atom or twice for four
        fitted = np.float32(FITTED * stop)
        m, shift = _settle(scores, x, left, atoms, gram, grain, own, inner, picks, values, m, fitted)
        moved += shift * length


@parallel()
def _pursue(scores, x, left, atoms, gram, grain, length, floor, picks, values):  # type: ignore[no-untyped-def]
    for i in prange(len(scores)):
        _pursue_row(scores[i], x[i], left[i], atoms, gram, grain, length, floor, picks[i], values[i])
