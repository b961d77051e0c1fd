"""Squared errors of reconstructions whose amounts are an elementwise function of scores, computed in one of two ways.

A penalty method says what a score becomes: how strongly its feature is active, and what else is summed over a batch.
Both are 0, without gradient, where the score is below a floor. So the entries above it are all there is, and while
they are few, passes over entries do everything (``Sparsely``). While many are, as at the beginning of a training whose
penalty is weak, matrix products are faster (``Densely``): there a block of features at a time is made, used, and made
again for the gradient, so that never more than one block of dense scores exists.

Which way a batch goes is decided by the share of entries among the scores of its first rows: by the data alone, so a
resumed training decides the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.ops import product, residual, weighted_rows
from monoscope.ops.above import above_of_tiles
from monoscope.ops.columns import columns
from monoscope.ops.room import room, room_like
from monoscope.ops.transpose import transpose
from monoscope.types import Code

PROBE = 256  # rows whose scores decide the way
TILE = 1 << 20  # bytes of scores that are multiplied at once on a CPU
PIECE = 1 << 17  # and of those, that a response is applied to at once: a dozen times as much is made of them
WHOLE = 1 << 26  # both on a device
ACROSS = 512  # features of a tile, at least
CROWDED = {torch.bfloat16: 0.075, torch.float32: 0.25}  # share of entries from which on products are faster (CPU)

Weights = tuple[
    Float[Tensor, "n_features d_in"],
    Float[Tensor, " n_features"],
    Float[Tensor, "n_features d_out"],
    Float[Tensor, " d_out"],
]  # w_enc, the scores' bias, w_dec, b_dec


@dataclass(frozen=True)
class Response:
    """What a score becomes.

    Args:
        apply: from scores, and for every score one number of each of ``parameters``, to *amounts* and *measures*, both
            tuples of tensors like the scores; elementwise, differentiable. The first amounts are the code, and the
            decoder learns from its error. Further amounts are decoded by a decoder that is held fast.
        parameters: numbers of each feature that ``apply`` needs; gradients reach them.
        floor: what a score must exceed for amounts and measures to be other than 0; None is 0.
        lengths: whether the lengths of the decoder's rows are asked for.
    """

    apply: Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]
    parameters: tuple[Float[Tensor, " n_features"], ...] = ()
    floor: Float[Tensor, " n_features"] | None = None
    lengths: bool = False


class Outcome(NamedTuple):
    """What a batch gives; all but ``left`` and ``active`` is differentiable.

    Attributes:
        errors: the summed squared error of each of the amounts.
        sums: each of the amounts, summed over rows.
        totals: each of the measures, summed over rows.
        left: what the first amounts leave over.
        active: how many of the first amounts are above 0.
        lengths: those of the decoder's rows, where the response asks for them; their gradient is added to the
            decoder's own, so that it takes no further matrix. That of a row of zeros has the gradient 0.
    """

    errors: Float[Tensor, " n_amounts"]
    sums: Float[Tensor, "n_amounts n_features"]
    totals: Float[Tensor, "n_measures n_features"]
    left: Float[Tensor, "n d_out"]
    active: Float[Tensor, ""]
    lengths: Float[Tensor, " n_features"]


class Sums(NamedTuple):
    """Of an outcome what is added up as entries or tiles come."""

    errors: Tensor
    sums: Tensor
    totals: Tensor
    active: Tensor


class Gradients(NamedTuple):
    """Those of the encoder, the scores' bias, the decoder, and the response's parameters."""

    w_enc: Tensor
    bias: Tensor
    w_dec: Tensor
    parameters: list[Tensor]


class Towards(NamedTuple):
    """Gradients that arrive: those of the errors, times −2, as numbers; those of the sums and totals, or None."""

    scales: list[float]
    sums: Tensor | None
    totals: Tensor | None


def respond(
    x: Float[Tensor, "n d_in"],
    y: Float[Tensor, "n d_out"],
    weights: Weights,
    response: Response,
    precision: torch.dtype,
    crowded: float | None = None,
    centre: Float[Tensor, " d_in"] | None = None,
) -> Outcome:
    """The outcome of ``response`` to the scores ``x @ w_encᵀ + bias``; gradients reach ``y``, weights and parameters.

    Args:
        x, y: what is read, and what is reconstructed.
        weights: ``w_enc, bias, w_dec, b_dec``.
        response: what a score becomes.
        precision: of the encoder's product; the other products of ``Densely`` have it too.
        crowded: the share of entries from which on products are used; None is what is faster on a CPU.
        centre: what is taken off every row before it is scored; gradients reach it, and the encoder's through it is
            added to the encoder's own.
    """
    limit = CROWDED.get(precision, CROWDED[torch.bfloat16]) if crowded is None else crowded
    scored = (weights[0], _centred(weights[0], weights[1], centre), *weights[2:])
    way = Densely if share(x[:PROBE], scored, response.floor, precision) > limit else Sparsely
    return Outcome(*_Respond.apply(way(response, precision), x, y, centre, *weights, *response.parameters))


@torch.no_grad()
def _centred(w_enc: Tensor, bias: Tensor, centre: Tensor | None) -> Tensor:
    """The bias of scores of rows from which nothing was taken off."""
    return bias if centre is None else bias - w_enc @ centre


@torch.no_grad()
def share(x: Tensor, weights: Weights, floor: Tensor | None, precision: torch.dtype) -> float:
    """The share of entries among the scores of ``x``."""
    tiles = product.tiles(x, weights[0], _over(weights[1], floor), precision)
    return sum(int(columns(tile.scores)[1].sum()) for tile in tiles) / len(x) / len(weights[0])


def _over(bias: Tensor, floor: Tensor | None) -> Tensor:
    return bias if floor is None else bias - floor


class _Respond(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, way: Sparsely | Densely, x: Tensor, y: Tensor, centre: Tensor | None, w_enc: Tensor, bias: Tensor,
        *others: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        others = (w_enc, _centred(w_enc, bias, centre), *others)
        (errors, sums, totals, active), left = way.forward(x, y, *others)
        lengths = others[2].norm(dim=1) if way.response.lengths else errors.new_zeros(0)
        ctx.way, ctx.left = way, left if way.decodes_again or ctx.needs_input_grad[2] else left[:1]
        ctx.n_amounts, ctx.lengths = len(left), lengths
        ctx.save_for_backward(x, centre, *others)
        ctx.mark_non_differentiable(left[0], active)
        ctx.set_materialize_grads(False)
        return errors, sums, totals, left[0], active, lengths

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, centre, *others = ctx.saved_tensors
        left, ctx.left = ctx.left, None  # held by nothing else, so that a way can let it go
        errors, sums, totals, _, _, lengths = grads
        scales = [0.0] * ctx.n_amounts if errors is None else (-2 * errors).tolist()
        b_dec = left[0].sum(0) * scales[0]
        y = None
        if ctx.needs_input_grad[2]:
            y = -sum(part * scale for part, scale in zip(left, scales, strict=True))
        found = ctx.way.backward(x, left, Towards(scales, sums, totals), *others)
        if lengths is not None:
            found.w_dec.addcmul_(others[2], torch.where(ctx.lengths > 0, lengths / ctx.lengths, 0)[:, None])
        if centre is not None:
            found.w_enc.addr_(found.bias, centre, alpha=-1)
            centre = -(others[0].T @ found.bias)
        return None, None, y, centre, found.w_enc, found.bias, found.w_dec, b_dec, *found.parameters


class Sparsely:
    """By passes over the entries above the floor, in fp32; the encoder's product in ``precision``."""

    decodes_again = False  # for the gradient: slopes hold all that it needs of what further amounts leave over

    def __init__(self, response: Response, precision: torch.dtype) -> None:
        self.response, self.precision = response, precision

    def forward(
        self, x: Tensor, y: Tensor, w_enc: Tensor, bias: Tensor, w_dec: Tensor, b_dec: Tensor, *parameters: Tensor
    ) -> tuple[Sums, list[Tensor]]:
        """What is summed over the batch, and what each of the amounts leaves over."""
        self._find(x, w_enc, bias)
        whole: list[Tensor] = []
        sums = totals = x.new_zeros(0, len(w_enc), dtype=torch.float64)
        active = x.new_zeros((), dtype=torch.float64)
        for at in self._pieces():
            amounts, measures = self.response.apply(self.code.values[at], *self._spread(parameters, at))
            if not whole:
                whole = [room_like(self.code.values) for _ in amounts]
                sums, totals = (sums.new_zeros(len(some), len(w_enc)) for some in (amounts, measures))
            self._add_up(sums, at, amounts)
            self._add_up(totals, at, measures)
            active += amounts[0].sign().sum(dtype=torch.float64)
            for each, amount in zip(whole, amounts, strict=True):
                each[at] = amount
        found = [residual.residual(self.code, each, w_dec, b_dec, y) for each in whole]
        self.slopes = [each.slopes for each in found]
        errors = torch.stack([each.error for each in found]).float()
        return Sums(errors, sums.float(), totals.float(), active), [each.left for each in found]

    def _add_up(self, sums: Tensor, at: slice, parts: Sequence[Tensor]) -> None:
        """Add numbers of some entries to those of their features."""
        for total, part in zip(sums, parts, strict=True):
            weighted_rows.add_up(total, self.code.indices[at], part)

    def _find(self, x: Tensor, w_enc: Tensor, bias: Tensor) -> None:
        """The entries above the floor and their scores, by row."""
        floor = self.response.floor
        tiles = product.tiles(x, w_enc, _over(bias, floor), self.precision)
        counts, indices, values = above_of_tiles(tiles, len(x), 0.0)
        offsets = torch.zeros(len(x) + 1, dtype=torch.long, device=x.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        self.code = Code(indices, values, offsets, len(w_enc))
        if floor is not None:  # what was found is by how much they exceed it
            for at in self._pieces():
                values[at] += floor.index_select(0, indices[at])

    def backward(
        self, x: Tensor, left: list[Tensor], towards: Towards,
        w_enc: Tensor, bias: Tensor, w_dec: Tensor, b_dec: Tensor, *parameters: Tensor,
    ) -> Gradients:  # fmt: skip
        """The gradients of a ``forward`` on the same tensors, once: what they are made of is let go on the way.

        What the amounts leave over is taken out of its list for that.
        """
        pushes, pulls = self.code.values, self.slopes[0]  # each piece is read before it is written over
        sums = x.new_zeros(1 + len(parameters), len(w_enc), dtype=torch.float64)
        for at in self._pieces():
            pushed, *others = self._pull(at, towards, parameters)
            pushes[at], pulls[at] = pushed, others[0]
            self._add_up(sums, at, others)
        by = transpose(self.code)
        del self.code, self.slopes  # before the largest are made
        dec = weighted_rows.scatter(by, pushes, left[0])
        del pushes, left[:]  # and before the other
        enc = weighted_rows.scatter(by, pulls, x)
        shift, *found = sums.float()
        return Gradients(enc, shift, dec, found)

    def _pull(self, at: slice, towards: Towards, parameters: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Of some entries the first amounts, as the decoder's gradient wants them, and gradients of all else."""
        pulls = [slopes[at] * scale for slopes, scale in zip(self.slopes, towards.scales, strict=True)]
        if towards.sums is not None:
            pulls = [pull.add_(sums) for pull, sums in zip(pulls, self._spread(towards.sums, at), strict=True)]
        totals = [] if towards.totals is None else self._spread(towards.totals, at)
        spread = self._spread(parameters, at)
        amounts, others = _pulled(self.response, self.code.values[at], spread, pulls, totals)
        return amounts * towards.scales[0], *others

    def _pieces(self) -> Iterator[slice]:
        """All entries in pieces; of no entries one empty piece."""
        n, size = len(self.code.values), _at_once(self.code.values.device, PIECE) // 4
        return (slice(first, first + size) for first in range(0, max(1, n), size))

    def _spread(self, parameters: Iterable[Tensor], at: slice) -> list[Tensor]:
        return [parameter.index_select(0, self.code.indices[at]) for parameter in parameters]


class Densely:
    """By matrix products in ``precision``, a tile of scores at a time."""

    decodes_again = True

    def __init__(self, response: Response, precision: torch.dtype) -> None:
        self.response, self.precision = response, precision

    def _tiles(self, x: Tensor, w_enc: Tensor, bias: Tensor) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
        """Which rows and features, the rows as the product reads them, and the scores, which may be written over."""
        size = _at_once(x.device, TILE) // self.precision.itemsize
        width = max(ACROSS, size // max(1, len(x)))
        for row, feature, scores, read in product.tiles(x, w_enc, bias, self.precision, width, size):
            yield slice(row, row + len(scores)), slice(feature, feature + scores.shape[1]), read, scores

    def _parts(self, scores: Tensor) -> Iterator[slice]:
        """A tile's rows, in parts that the response is applied to."""
        size = max(1, _at_once(scores.device, PIECE) // self.precision.itemsize // max(1, scores.shape[1]))
        return (slice(first, first + size) for first in range(0, max(1, len(scores)), size))

    def forward(
        self, x: Tensor, y: Tensor, w_enc: Tensor, bias: Tensor, w_dec: Tensor, b_dec: Tensor, *parameters: Tensor
    ) -> tuple[Sums, list[Tensor]]:
        """What is summed over the batch, and what each of the amounts leaves over."""
        left: list[Tensor] = []
        sums, totals = x.new_zeros(0, len(w_enc)), x.new_zeros(0, len(w_enc))
        active = x.new_zeros((), dtype=torch.float64)
        numbers = [each.to(self.precision) for each in parameters]
        for rows, at, _, scores in self._tiles(x, w_enc, bias):
            directions = w_dec[at].to(self.precision)
            whole = [scores]
            for part in self._parts(scores):
                amounts, measures = self.response.apply(scores[part], *(each[at] for each in numbers))
                if not left:
                    left = [torch.sub(y, b_dec, out=room_like(y)) for _ in amounts]
                    sums, totals = (x.new_zeros(len(some), len(w_enc)) for some in (amounts, measures))
                for total, measure in zip(totals, measures, strict=True):
                    total[at] += columns(measure)[0]
                whole += [room_like(scores) for _ in amounts[len(whole) :]]
                for each, amount in zip(whole, amounts, strict=True):
                    each[part] = amount
            for each, amount in zip(left, whole, strict=True):
                each[rows].sub_(_product(amount, directions))
            (first, positive), *further = map(columns, whole)
            active += positive.sum()
            sums[:, at] += torch.stack([first, *(each for each, _ in further)])
        errors = torch.stack([each.norm(dim=1).square().sum() for each in left])
        return Sums(errors, sums, totals, active), left

    def backward(
        self, x: Tensor, left: list[Tensor], towards: Towards,
        w_enc: Tensor, bias: Tensor, w_dec: Tensor, b_dec: Tensor, *parameters: Tensor,
    ) -> Gradients:  # fmt: skip
        """The gradients of a ``forward`` on the same tensors; takes what the amounts leave over out of its list."""
        numbers = [each.to(self.precision) for each in parameters]
        remains = [_rounded(left.pop(0), self.precision) for _ in towards.scales]
        # after what is let go above, in whose place they fit
        enc, dec, shift, *found = (room_like(each).zero_() for each in (w_enc, w_dec, bias, *parameters))
        sums = [x.new_zeros(len(w_enc))] * len(remains) if towards.sums is None else towards.sums
        for rows, at, read, scores in self._tiles(x, w_enc, bias):
            directions = w_dec[at].to(self.precision)
            pulls = [
                torch.addmm(each[at].to(self.precision), rest[rows], directions.T, alpha=scale, out=room_like(scores))
                for each, rest, scale in zip(sums, remains, towards.scales, strict=True)
            ]
            totals = [] if towards.totals is None else [each[at].to(scores) for each in towards.totals]
            for part in self._parts(scores):
                pieces, some = [each[part] for each in pulls], scores[part]
                arriving = [each.expand_as(some) for each in totals]
                amounts, (pulled, *others) = _pulled(
                    self.response, some, [each[at] for each in numbers], pieces, arriving
                )
                scores[part], pulls[0][part] = amounts, pulled
                for each, other in zip(found, others, strict=True):
                    each[at] += other
            enc[at] += _product(pulls[0].T, read)
            dec[at].add_(_product(scores.T, remains[0][rows]), alpha=towards.scales[0])
            shift[at] += columns(pulls[0])[0]
        return Gradients(enc, shift, dec, found)


def _at_once(device: torch.device, on_cpu: int) -> int:
    return on_cpu if device.type == "cpu" else WHOLE


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``, where a training finds its memory again."""
    return torch.mm(a, b, out=room(len(a), b.shape[1], dtype=a.dtype, device=a.device))


def _rounded(numbers: Tensor, precision: torch.dtype) -> Tensor:
    if numbers.dtype == precision:
        return numbers
    return room(*numbers.shape, dtype=precision, device=numbers.device).copy_(numbers)


def _pulled(
    response: Response, scores: Tensor, numbers: list[Tensor], pulls: list[Tensor], totals: list[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The first amounts, and the gradients of scores and numbers when those of amounts and measures are given."""
    leaves = [tensor.detach().requires_grad_() for tensor in (scores, *numbers)]
    with torch.enable_grad():
        amounts, measures = response.apply(*leaves)
    pairs = [*zip(amounts, pulls, strict=True), *(zip(measures, totals, strict=True) if totals else ())]
    outputs, arriving = zip(*((output, pull) for output, pull in pairs if output.requires_grad), strict=True)
    return amounts[0].detach(), torch.autograd.grad(outputs, leaves, arriving, materialize_grads=True)
