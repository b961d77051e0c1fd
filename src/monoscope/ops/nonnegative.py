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
order, so that a row's code does not depend on its neighbours by a single bit. Without a Gram matrix inner products are
made afresh, as there.

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
from monoscope.ops.nearest import dot, group_maxima, nearest, tile
from monoscope.ops.pursuit import NOISE, OFF, SCORES, TOGETHER, longest, near_best, room_for_best, worth_it
from monoscope.ops.room import room_like
from monoscope.ops.weighted_rows import weighted
from monoscope.types import Code

ROUND = 0.5  # of a round's first inner product: what ends the round
SPARE = 8  # times more atoms than are counted upon may be active in a row
SWEEPS = 100  # of a fit, at most
SPACE = 1 << 24  # numbers in the Gram matrices of active atoms that are held at once
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
    own, x, atoms = atoms, x.detach(), atoms.detach()
    if x.device.type != "cpu":  # row by row is no work for a device
        from monoscope.ops import nonnegative_batched

        return nonnegative_batched.pursue(x, atoms, floor, most)
    if any(t.dtype != torch.float32 for t in (x, atoms)):
        return reference(x, atoms, floor, most)
    x, atoms = x.contiguous(), atoms.contiguous()
    left = room_like(x).copy_(x)
    picks, values = np.full((len(x), most), -1, np.int32), np.zeros((len(x), most), np.float32)
    gram = worth_it(own, len(x), -(-most // SPARE))
    if gram is None:
        _afresh(x, left, atoms, longest(atoms), floor, picks, values)
        return Found(torch.from_numpy(picks), torch.from_numpy(values), left)
    for first, scores in product.blocks(x, atoms, atoms.new_zeros(len(atoms)), torch.float32, SCORES):
        rows = slice(first, first + len(scores))
        _pursue(
            scores.numpy(), x[rows].numpy(), left[rows].numpy(), atoms.numpy(), *gram, floor, picks[rows], values[rows],
        )  # fmt: skip
    return Found(torch.from_numpy(picks), torch.from_numpy(values), left)


def _afresh(
    x: Tensor, left: Tensor, atoms: Tensor, length: float, floor: float, picks: np.ndarray, values: np.ndarray
) -> None:
    """Without a Gram matrix: for all rows of a block one product with the atoms, then a pick or a fit of each."""
    most = picks.shape[1]
    size = min(TOGETHER, max(1, SPACE // most**2))
    for rows in np.split(np.arange(len(x)), range(size, len(x), size)):
        own, inner = np.empty((len(rows), most, most), np.float32), np.empty((len(rows), most), np.float32)
        state, enough, places = (
            np.zeros((len(rows), 3), np.int64),
            np.empty(len(rows), np.float32),
            np.arange(len(rows)),
        )
        first = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0)
        arrays = x.numpy()[first], left.numpy()[first], atoms.numpy(), length, floor, own, inner
        while len(places):
            width, going = tile(len(places)), np.zeros(len(places), np.bool_)
            maxima = group_maxima(left[first][torch.from_numpy(places)], atoms, width)
            _step(maxima, width, places, *arrays, picks[first], values[first], state, enough, going)
            places = places[going]


@njit(inline="always")
def _take(scores, left, atoms, gram, grain, at, amount):  # type: ignore[no-untyped-def]
    """Take so much of an atom off what is left, and bring all inner products up to date."""
    for j in range(atoms.shape[1]):
        left[j] -= amount * atoms[at, j]
    by = amount * grain
    for f in range(len(scores)):
        scores[f] -= by * np.float32(gram[at, f])


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
        score = dot(left, atoms[places[c]])
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
def _pick(scores, x, left, atoms, gram, grain, own, inner, picks, values, m, best, at):  # type: ignore[no-untyped-def]
    """Make an atom the active one after ``m`` others, and take it off."""
    for a in range(m):
        own[a, m] = own[m, a] = dot(atoms[picks[a]], atoms[at])
    own[m, m], inner[m] = dot(atoms[at], atoms[at]), dot(atoms[at], x)
    picks[m], values[m] = at, best / own[m, m]
    _take(scores, left, atoms, gram, grain, at, values[m])


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
        _pick(scores, x, left, atoms, gram, grain, own, inner, picks, values, m, best, at)
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
    _change(scores, gram, grain, picks, more, m)
    m = _drop(own, inner, picks, values, m)
    weighted(left, picks, values, m, atoms)
    for j in range(len(x)):
        left[j] = x[j] - left[j]
    return m, moved


@inner(fastmath={"contract", "reassoc"})
def _pursue_row(scores, x, left, atoms, gram, grain, length, floor, picks, values):  # type: ignore[no-untyped-def]
    most = len(picks)
    work = room_for_best(scores)
    own, inner = np.empty((most, most), np.float32), np.empty(most, np.float32)
    moved = np.sqrt(dot(x, x))
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


@inner(fastmath={"contract", "reassoc"})
def _step_row(maxima, width, x, left, atoms, length, floor, own, inner, picks, values, state, enough):  # type: ignore[no-untyped-def]
    """One pick, or where a round has ended the fit; returns whether the row goes on.

    ``state``: how many atoms are active, how many were when the round began, and how many rounds there were.
    """
    scores, gram, none = np.empty(0, np.float32), np.empty((0, 0), np.int16), np.float32(0)
    most, m, first = len(picks), state[0], state[1]
    stop = np.float32(max(floor, np.sqrt(dot(x, x)) * NOISE))
    if m == first:
        enough[0] = stop
    best, at = nearest(maxima, width, left, atoms, length, enough[0])
    for a in picks[:m]:
        if a == at:
            at = -1
    if at >= 0:
        if m == first:
            enough[0] = max(stop, np.float32(ROUND) * best)
        _pick(scores, x, left, atoms, gram, none, own, inner, picks, values, m, best, at)
        m += 1
    elif m == first:
        return False
    if at < 0 or m == most:
        m, _ = _settle(scores, x, left, atoms, gram, none, own, inner, picks, values, m, np.float32(FITTED * stop))
        state[1] = m
        state[2] += 1
    state[0] = m
    return m < most and state[2] < 2 * most


@parallel()
def _step(maxima, width, rows, x, left, atoms, length, floor, own, inner, picks, values, state, enough, going):  # type: ignore[no-untyped-def]
    for i in prange(len(rows)):
        row = rows[i]
        going[i] = _step_row(
            maxima[i], width, x[row], left[row], atoms, length, floor, own[row], inner[row], picks[row], values[row],
            state[row], enough[row : row + 1],
        )  # fmt: skip


@parallel()
def _pursue(scores, x, left, atoms, gram, grain, length, floor, picks, values):  # type: ignore[no-untyped-def]
    for i in prange(len(scores)):
        _pursue_row(scores[i], x[i], left[i], atoms, gram, grain, length, floor, picks[i], values[i])
