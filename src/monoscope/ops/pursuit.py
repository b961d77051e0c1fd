"""Matching pursuit (Mallat & Zhang 1993): explain each row by one atom after the other.

Each step picks the atom with the largest inner product with what is left of the row, and takes that much of it off:
``v = max d·r``, ``r ← r − v d``. It ends after k steps, or where no inner product is above the rounding of the row. An
atom may be picked again; its values are added up in the code. It may also be told to end sooner: after a step that
leaves less than some length, or that picks an atom for the second time.

The kernel keeps every atom's inner product with the residual up to date by the picked atom's row of the Gram matrix,
which is held in 16 bits. These numbers only *preselect*: all atoms that rounding could have hidden are scored again on
the residual itself, always in the same order, so that a row's code does not depend on its neighbours by a single bit.
For few rows, and for so many atoms that the matrix would be too large, the inner products are made afresh at each step,
by one product for many rows (``ops.nearest``), and what is picked is the same. Of atoms that do not change any more
(``keep``) the matrix is made once, and then serves few rows too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from monoscope.ops import product, weighted_rows
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.nearest import dot, group_maxima, nearest, tile
from monoscope.ops.room import room, room_like
from monoscope.ops.topk import GROUPS
from monoscope.ops.topk import group_maxima as maxima_of_groups
from monoscope.ops.transpose import transpose
from monoscope.ops.unchanging import Unchanging
from monoscope.types import Code

NOISE = 2.0**-20  # of a row's length: what is left below it is rounding
LARGEST = 1 << 30  # entries of a Gram matrix: 2 GB
STEPS = 32_760  # that the largest entry is made of: rounding stays below 2 ** 15
OFF = 1.01  # of such a step: what an entry may be off by
LEAST = np.int32(-(1 << 31))  # no integer of 32 bits is below it
PART = 32  # groups of scores that are passed over at once
AT_ONCE = 128  # rows of it that are made at once
ROWS = 512  # whose picks are compared with each other at once
TOGETHER = 512  # rows whose inner products with all atoms are made at once
SCORES, SPACE = 1 << 19, 1 << 20  # numbers in a block of scores, and of gradients
A_PASS = 16  # rows that take as long as reading the atoms once: what any number of rows pays for a pick without matrix
DENSE = 1 << 26  # scores that are made at once where torch makes them


class Gram(NamedTuple):
    """All inner products of atoms with each other, as whole multiples of ``grain``; and the length of the longest."""

    multiples: np.ndarray
    grain: np.float32
    length: float


@dataclass
class _Lasting:
    """Of atoms that will not change, what is known of their use."""

    picks: int = 0
    gram: Gram | None = None


_LASTING: Unchanging[_Lasting] = Unchanging()


class Pursuit(NamedTuple):
    """What each step picked (-1 after the last) and the values, in order; and what the steps left of each row."""

    picks: Int[Tensor, "n k"]
    values: Float[Tensor, "n k"]
    residual: Float[Tensor, "n d"]

    def code(self, n_features: int) -> Code:
        """Each row's atoms with their values, those of an atom that was picked again added up."""
        values = torch.zeros_like(self.values)
        for picks, found, out in zip(*(t.split(ROWS) for t in (self.picks, self.values, values)), strict=True):
            same = picks[:, :, None] == picks[:, None, :]
            place = same.view(torch.uint8).argmax(2)  # the step that picked the same atom first
            out.scatter_add_(1, place, found)
        return Code.from_rows(self.picks, values, n_features)


def reference(
    x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], k: int, enough: float = 0.0, once: bool = False
) -> Pursuit:
    """The same in plain torch, with every inner product made at every step."""
    picks = torch.full((len(x), k), -1, dtype=torch.int32, device=x.device)
    values = x.new_zeros(len(x), k)
    left, floor = x, NOISE * x.norm(dim=1)
    for step in range(k):
        best, at = (left @ atoms.T).max(1)
        going = best > floor
        floor = torch.where(going, floor, torch.inf)  # what has stopped does not go on
        values[:, step] = torch.where(going, best, 0)
        picks[:, step] = torch.where(going, at, -1).int()
        left = left - values[:, step, None] * atoms[at]
        ended = left.norm(dim=1) < enough
        if once:
            ended |= (picks[:, :step] == picks[:, step, None]).any(1)
        floor = torch.where(ended, torch.inf, floor)
    return Pursuit(picks, values, left)


def pursue(
    x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], k: int, enough: float = 0.0, once: bool = False
) -> Pursuit:
    """Up to ``k`` steps for each row; ties go to the lower index. See the module's text.

    Args:
        x: what is explained; any part that no atom is for, such as a bias, already taken off.
        atoms: rows of unit norm.
        k: the number of steps, at most.
        enough: a length; a step that leaves less of a row is its last.
        once: whether the step that picks an atom again is a row's last.
    """
    own, x, atoms = atoms, x.detach(), atoms.detach()
    if not _on_cpu(x, atoms):
        blocks = x.split(max(1, DENSE // len(atoms)))
        found = zip(*(reference(rows, atoms, k, enough, once) for rows in blocks), strict=True)
        return Pursuit(*(torch.cat(parts) for parts in found))
    atoms, left = atoms.contiguous(), room_like(x).copy_(x)
    picks, values = np.full((len(x), k), -1, np.int32), np.zeros((len(x), k), np.float32)
    ends, gram = (np.float32(enough), once), worth_it(own, len(x), k)
    if gram is None:
        _afresh(left, atoms, longest(atoms), *ends, picks, values)
        return Pursuit(torch.from_numpy(picks), torch.from_numpy(values), left)
    for first, scores in product.blocks(x, atoms, atoms.new_zeros(len(atoms)), torch.float32, SCORES):
        rows = slice(first, first + len(scores))
        _pursue(
            scores.numpy(), left[rows].numpy(), atoms.numpy(), *gram, *ends, picks[rows], values[rows],
        )  # fmt: skip
    return Pursuit(torch.from_numpy(picks), torch.from_numpy(values), left)


def _afresh(
    left: Tensor, atoms: Tensor, length: float, enough: np.float32, once: bool, picks: np.ndarray, values: np.ndarray
) -> None:
    """Without a Gram matrix: all rows of a block take each step together."""
    floors = np.empty(len(left), np.float32)
    for rows in np.split(np.arange(len(left)), range(TOGETHER, len(left), TOGETHER)):
        for step in range(picks.shape[1]):
            if not len(rows):
                break
            width, going = tile(len(rows)), np.zeros(len(rows), np.bool_)
            maxima = group_maxima(left[torch.from_numpy(rows)], atoms, width)
            _step(
                maxima, width, rows, left.numpy(), atoms.numpy(), length, floors, enough, once, step,
                picks, values, going,
            )  # fmt: skip
            rows = rows[going]


def _on_cpu(*tensors: Tensor) -> bool:
    return all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def keep(atoms: Float[Tensor, "n_atoms d"]) -> None:
    """These will not change: their Gram matrix is made once, and kept while they live.

    It is made as soon as so many rows have been pursued, by however many calls, that it is worth it. A change is
    noticed as ``ops.unchanging`` says.
    """
    if _on_cpu(atoms) and _LASTING.find(atoms) is None:
        _LASTING.put(_Lasting(), atoms)


def forget(atoms: Float[Tensor, "n_atoms d"]) -> None:
    """Keep nothing of these any more."""
    _LASTING.drop(atoms)


def worth_it(atoms: Float[Tensor, "n_atoms d"], rows: int, picks: int) -> Gram | None:
    """The Gram matrix, if it is kept, or worth making for rows of so many picks; None if not, or if it is too large."""
    lasting = _LASTING.find(atoms) or _Lasting()
    lasting.picks += (rows + A_PASS) * picks
    if lasting.gram is None and lasting.picks >= len(atoms) and len(atoms) ** 2 <= LARGEST:
        lasting.gram = gram_matrix(atoms.detach().contiguous())
    return lasting.gram


def longest(atoms: Float[Tensor, "n_atoms d"]) -> float:
    """The length of the longest atom, but for its rounding: no atom is longer. Never 0, which would be divided by."""
    return max(float(atoms.norm(dim=1).max()) * 1.001, 1e-30)


def gram_matrix(atoms: Float[Tensor, "n_atoms d"]) -> Gram:
    """The inner products of all atoms with each other; none exceeds the square of the longest atom's length."""
    n = len(atoms)
    length = longest(atoms)
    grain = max(length**2, 1e-30) / STEPS
    multiples, space = room(n, n, dtype=torch.int16), room(min(n, AT_ONCE), n)
    for first in range(0, n, AT_ONCE):
        rows, rest = slice(first, first + AT_ONCE), slice(first + AT_ONCE, n)
        some = atoms[rows] / grain
        made = space.view(-1)[: len(some) * (n - first)].view(len(some), n - first)
        multiples[rows, first:] = torch.mm(some, atoms[first:].T, out=made)  # towards 0
        multiples[rest, rows] = multiples[rows, rest].T
    return Gram(multiples.numpy(), np.float32(grain), length)


def steps(
    x: Float[Tensor, "n d_in"], atoms: Float[Tensor, "n_atoms d"], found: Pursuit
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n d"]]:
    """``found.values`` and ``found.residual``, differentiable in ``x`` and ``atoms`` with what was picked held fixed.

    The gradient is that of all steps: ``v_t = d·r_t`` and ``r_t+1 = r_t − v_t d`` with ``d`` the atom of step t. With
    ``g`` the gradient of what a step left, ``h`` that of its value and ``a = d·g − h``, the step's atom gets
    ``−v_t g − a r_t`` and ``r_t`` gets ``g − a d``. Wherever no two atoms tie, it is the gradient of matching pursuit
    itself.
    """
    return _Steps.apply(x, atoms, found)


def residual(x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], found: Pursuit) -> Float[Tensor, "n d"]:
    """``found.residual``, differentiable as in ``steps``."""
    return steps(x, atoms, found)[1]


def reference_steps(
    x: Float[Tensor, "n d"], atoms: Float[Tensor, "n_atoms d"], picks: Int[Tensor, "n k"]
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n d"]]:
    """The steps written out, for autograd."""
    values = []
    for at in picks.long().unbind(1):
        chosen = atoms[at.clamp_min(0)] * (at >= 0)[:, None]
        values.append((chosen * x).sum(1))
        x = x - values[-1][:, None] * chosen
    return torch.stack(values, 1), x


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, atoms: Tensor, found: Pursuit) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(atoms)
        ctx.found = found
        ctx.set_materialize_grads(False)
        return found.values.detach(), found.residual.detach()  # others with these numbers: not their own ancestors

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, Tensor, None]:
        (atoms,) = ctx.saved_tensors
        backward = _backward if _on_cpu(atoms, *(g for g in grads if g is not None)) else _reference_backward
        of_values, of_left = (
            torch.zeros_like(t) if g is None else g for t, g in zip(ctx.found[1:], grads, strict=True)
        )
        return *backward(atoms, ctx.found, of_values, of_left), None


def _reference_backward(atoms: Tensor, found: Pursuit, pulls: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients towards rows and atoms in plain torch, back from the last step: nothing is kept of a step."""
    left, towards = found.residual, torch.zeros_like(atoms)
    steps = (t.unbind(1) for t in (found.picks.long(), found.values, pulls))
    for at, value, pull in reversed(list(zip(*steps, strict=True))):
        place = at.clamp_min(0)
        chosen, v = atoms[place] * (at >= 0)[:, None], value[:, None]
        along = (chosen * grad).sum(1, keepdim=True) - (pull * (at >= 0))[:, None]
        left = left + v * chosen
        towards.index_put_((place,), -v * grad - along * left, accumulate=True)  # on a device in one order, by sorting
        grad = grad - along * chosen
    return grad, towards


def _backward(atoms: Tensor, found: Pursuit, pulls: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients towards rows and atoms, a block of rows at a time: each step's part is a vector of its own."""
    n, k = found.picks.shape
    out, towards, pulls = room_like(grad).copy_(grad), room_like(atoms).zero_(), pulls.contiguous()
    size = max(1, SPACE // (k * atoms.shape[1]))
    for first in range(0, n, size):
        picks, values, left = (t[first : first + size] for t in found)
        parts = room(*picks.shape, atoms.shape[1])
        passed, pulled = (t[first : first + size].numpy() for t in (out, pulls))
        grown = left.numpy().copy()
        _unwind(picks.numpy(), values.numpy(), grown, atoms.contiguous().numpy(), pulled, passed, parts.numpy())
        at = picks.flatten()
        chosen = Code.from_rows(at[:, None], (at >= 0).float()[:, None], len(atoms))
        towards += weighted_rows.scatter(transpose(chosen), chosen.values, parts.view(len(at), -1))
    return out, towards


@njit(inline="always")
def room_for_best(scores):  # type: ignore[no-untyped-def]
    """In kernels: what ``near_best`` of these scores works with."""
    number, maxima, places = np.empty(1, np.float32), np.empty(GROUPS, np.int32), np.empty(len(scores), np.int32)
    return scores.view(np.int32), maxima, places, number, number.view(np.int32)


@njit(inline="always")
def near_best(least, slack, work):  # type: ignore[no-untyped-def]
    """In kernels: how many scores reach the best, or ``least`` where that is more, less ``slack``; and their places.

    They are compared as integers, which order as positive floats do, and of which a compiler makes vectors.
    """
    bits, maxima, places, number, as_int = work
    as_int[0] = maxima_of_groups(bits, maxima)
    number[0] = max(number[0], least) - slack
    bound = as_int[0] if number[0] > 0 else LEAST  # negative ones order the other way round: all may reach it
    return _collect(bits, maxima, bound, places), places


@njit(inline="always")
def _collect(bits, maxima, bound, places):  # type: ignore[no-untyped-def]
    """The places of entries that reach ``bound``, which few groups do."""
    count = 0
    for part in range(0, GROUPS, PART):
        most = maxima[part]
        for g in range(part, part + PART):
            most = max(most, maxima[g])
        if most < bound:
            continue
        for g in range(part, part + PART):
            if maxima[g] >= bound:
                for j in range(g, len(bits), GROUPS):
                    if bits[j] >= bound:
                        places[count] = j
                        count += 1
    return count


@inner(fastmath={"contract", "reassoc"})
def _take(left, atoms, at, best, enough, once, step, picks, values):  # type: ignore[no-untyped-def]
    """Take an atom off; returns whether the row goes on."""
    picks[step] = at
    values[step] = best
    for j in range(atoms.shape[1]):
        left[j] -= best * atoms[at, j]
    ended = enough > 0 and np.sqrt(dot(left, left)) < enough
    for before in range(step if once else 0):
        ended = ended or picks[before] == at
    return not ended


@inner(fastmath={"contract", "reassoc"})
def _pursue_row(scores, left, atoms, gram, grain, length, unit, enough, once, picks, values):  # type: ignore[no-untyped-def]
    work = room_for_best(scores)
    moved = np.sqrt(dot(left, left))
    floor = np.float32(moved * NOISE)
    for step in range(len(picks)):
        count, places = near_best(np.float32(0), 2 * unit * moved, work)
        best, at = floor, -1
        for c in range(count):
            score = dot(left, atoms[places[c]])
            if score > best or (score == best and places[c] < at):
                best, at = score, places[c]
        if at < 0 or not _take(left, atoms, at, best, enough, once, step, picks, values):
            break
        moved += best * length
        by = best * grain
        for f in range(len(scores)):
            scores[f] -= by * np.float32(gram[at, f])


@inner(fastmath={"contract", "reassoc"})
def _step_row(maxima, width, left, atoms, length, floors, enough, once, step, picks, values):  # type: ignore[no-untyped-def]
    if step == 0:
        floors[0] = np.float32(np.sqrt(dot(left, left)) * NOISE)
    best, at = nearest(maxima, width, left, atoms, length, floors[0])
    return at >= 0 and _take(left, atoms, at, best, enough, once, step, picks, values)


@parallel()
def _step(maxima, width, rows, left, atoms, length, floors, enough, once, step, picks, values, going):  # type: ignore[no-untyped-def]
    for i in prange(len(rows)):
        row = rows[i]
        going[i] = _step_row(
            maxima[i], width, left[row], atoms, length, floors[row : row + 1], enough, once, step,
            picks[row], values[row],
        )  # fmt: skip


@parallel()
def _pursue(scores, left, atoms, gram, grain, length, enough, once, picks, values):  # type: ignore[no-untyped-def]
    # what products of d numbers, k updates of a score and k of the residual may be off by, of the lengths added up
    unit = np.float32((2 * atoms.shape[1] + 4 * picks.shape[1] + 8) * 2.0**-24 * length + OFF * grain / length)
    for i in prange(len(scores)):
        _pursue_row(scores[i], left[i], atoms, gram, grain, length, unit, enough, once, picks[i], values[i])


@parallel(fastmath={"contract", "reassoc"})
def _unwind(picks, values, left, atoms, pulls, grad, parts):  # type: ignore[no-untyped-def]
    """Go back from the last step to the first: ``left`` grows to the row, ``grad`` becomes the row's gradient."""
    n, k = picks.shape
    for i in prange(n):
        for back in range(k):
            step = k - 1 - back
            at, v = picks[i, step], values[i, step]
            if at < 0:
                continue
            along = dot(atoms[at], grad[i]) - pulls[i, step]
            for j in range(atoms.shape[1]):
                left[i, j] += v * atoms[at, j]
                parts[i, step, j] = -v * grad[i, j] - along * left[i, j]
                grad[i, j] -= along * atoms[at, j]
