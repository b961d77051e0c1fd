"""Rows to train on, from whatever holds them: arrays, an iterable of blocks, shards, a running model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, repeat, zip_longest
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.ops.room import room
from monoscope.ops.row_norm import normed
from monoscope.source import OF_ARRAY, Epochs, Picked, RowSource, batches
from monoscope.train.loop import SAMPLE, Data
from monoscope.train.schedules import batch_of
from monoscope.train.trainee import Units
from monoscope.train.transfer import Pair
from monoscope.types import Activations, as_tensor

CALIBRATION = 16_384  # rows for calibration; of those that are trained on at most a twentieth is kept back
OF_EACH = (
    1000  # tokens of a document that are enough for it: a few long ones do not decide (docs/log/2026-11-30-even.md)
)


def from_source(
    source: RowSource,
    site: str,
    target: str | None,
    batch_size: int,
    n_tokens: int | None = None,
    *,
    hold_back: bool,
    apart: RowSource | None = None,
    epochs: int = 1,
    seed: int = 0,
    own: bool = False,
) -> Data:
    """The rows of ``site`` (and of ``target``) in a ``RowSource``; resumable at any row.

    Args:
        source: the rows; the last of them are never trained on where ``hold_back`` says so.
        site, target: what is read, and what is reconstructed, if another.
        batch_size: rows per step.
        n_tokens: rows to train on; more than there are mean several epochs. None: ``epochs`` of them.
        hold_back: calibration wants rows that are not trained on.
        apart: where those are, so that none of ``source`` need be kept back: of other documents, because on a text that
            was trained on fewer features are active than on one that was not.
        epochs: how often each row is seen, without ``n_tokens``.
        seed: the order of later epochs.
        own: every part of a chunk is a copy that nobody else holds.
    """
    total = sum(source.counts)
    back = min(CALIBRATION, total // 20) if hold_back and apart is None else 0
    once = total - back
    n_rows = n_tokens or epochs * once
    repeated = Epochs(source, once, -(-n_rows // once), seed)

    def pair(rows: Activations) -> Pair:
        x = rows.values[site]
        return x, x if target is None else rows.values[target]

    def begun() -> Iterator[Activations]:
        return pieces(source, 0, min(SAMPLE, once))

    def first(n: int) -> Pair:
        x = copied(source, site, 0, min(n, once))
        return x, x if target is None else copied(source, target, 0, min(n, once))

    def held_out() -> Float[Tensor, "n d_in"]:
        if apart is not None:
            return copied(apart, site, 0, min(CALIBRATION, sum(apart.counts)))
        return copied(source, site, once, total) if back else first(CALIBRATION)[0]

    return Data(
        batches=lambda start: map(pair, batches(repeated, batch_size, start=start, stop=n_rows)),
        n_rows=n_rows,
        batch_size=batch_size,
        units=units_of(map(pair, begun())),
        row_units=cache(lambda: row_units_of(rows.values[site] for rows in begun())),
        first=first,
        held_out=held_out,
        own=own,
    )


def pieces(source: RowSource, start: int, stop: int, size: int = 1024) -> Iterator[Activations]:
    """All rows from ``start`` to ``stop``, few at a time."""
    whole = start + (stop - start) // size * size
    if whole > start:
        yield from batches(source, size, start=start, stop=whole)
    if stop > whole:
        yield from batches(source, stop - whole, start=whole, stop=stop)


def copied(source: RowSource, site: str, start: int, stop: int) -> Float[Tensor, "n d"]:
    """Some rows as one fp32 tensor of its own."""
    rows = room(stop - start, source.widths[site])
    at = 0
    for piece in pieces(source, start, stop):
        rows[at : at + len(piece)] = piece.values[site]
        at += len(piece)
    return rows


def units_of(pairs: Iterator[Pair]) -> Units:
    """The units of some rows, from sums in fp64 (Chan et al. 1979), so that the rows are never all held.

    Raises:
        MonoscopeError: the rows do not vary.
    """
    mine = theirs = Spread()
    alike = True
    for x, y in pairs:
        alike = alike and y is x
        mine = mine.joined(Spread.of(x))
        theirs = mine if alike else theirs.joined(Spread.of(y))
    return Units(mine.mean.float(), theirs.mean.float(), mine.scale(), theirs.scale())


def row_units_of(blocks: Iterator[Float[Tensor, "n d"]]) -> Units:
    """The units of some rows once each is normalised by itself.

    Raises:
        MonoscopeError: the rows do not vary.
    """
    found = (normed(block).rows for block in blocks)
    return replace(units_of((rows, rows) for rows in found), row_norm=True)


@dataclass(frozen=True)
class Spread:
    """How many rows there were, their mean, and the sum of squared distances from it."""

    count: int = 0
    mean: Float[Tensor, " d"] = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    squares: float = 0.0

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"]) -> Spread:
        """That of some rows."""
        exact = rows.to(torch.float64, copy=True)  # which rows of fp64 are already, and somebody else's
        mean = exact.mean(0)
        return cls(len(rows), mean, float(exact.sub_(mean).square_().sum()))

    def joined(self, other: Spread) -> Spread:
        """That of both."""
        count, apart = self.count + other.count, other.mean - self.mean
        between = float(apart.square().sum()) * self.count * other.count / count
        return Spread(count, self.mean + apart * (other.count / count), self.squares + other.squares + between)

    def scale(self) -> float:
        """The root of the mean squared distance, per number.

        Raises:
            MonoscopeError: it is 0.
        """
        if not self.squares > 0:
            raise MonoscopeError(
                "all activations are alike", fix="check the site and the text; nothing can be learned here"
            )
        return math.sqrt(self.squares / (self.count * len(self.mean)))


class ArraySource:
    """A ``RowSource`` over an array of rows (and one of targets), in an order by ``seed``."""

    CHUNK = 131_072

    def __init__(self, x: Tensor, y: Tensor | None, seed: int) -> None:
        self.x, self.y = x, y
        self.widths = {"x": x.shape[1]} | ({} if y is None else {"target": y.shape[1]})
        self.counts = [min(self.CHUNK, len(x) - first) for first in range(0, len(x), self.CHUNK)]
        self._order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)).astype(np.int32))

    def chunk(self, index: int) -> Picked:
        """One piece of the order; ``documents`` are the rows' places in the array."""
        return Picked(self._at, self._order[index * self.CHUNK : (index + 1) * self.CHUNK])

    def _at(self, places: Int[Tensor, " n"]) -> Activations:
        values = {"x": _taken(self.x, places)} | ({} if self.y is None else {"target": _taken(self.y, places)})
        return Activations(values, places, torch.full_like(places, OF_ARRAY))


def _taken(rows: Float[Tensor, "m d"], places: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
    found = room(len(places), rows.shape[1], dtype=rows.dtype, device=rows.device)
    return torch.index_select(rows.detach(), 0, places.to(rows.device), out=found)


def from_arrays(
    x: Any, target: Any | None, batch_size: int | None, n_tokens: int | None, seed: int, *, hold_back: bool
) -> Data:
    """The rows of an array; more tokens than rows mean several epochs. Without a batch size it is the usual one."""
    rows = as_tensor(x, "x")
    outs = None if target is None else as_tensor(target, "target")
    if outs is not None and len(outs) != len(rows):
        raise MonoscopeError(
            f"{len(rows)} rows of x and {len(outs)} of target", fix="pass one target row for every row of x"
        )
    batch_size = batch_of(batch_size, n_tokens or len(rows))
    _whole_batch(min(len(rows), n_tokens or len(rows)), batch_size)
    site = None if outs is None else "target"
    source = ArraySource(rows, outs, seed)
    return from_source(source, "x", site, batch_size, n_tokens, hold_back=hold_back, seed=seed, own=True)


def from_blocks(
    blocks: Iterable[Any],
    targets: Iterable[Any] | None,
    batch_size: int | None,
    n_tokens: int | None,
    *,
    hold_back: bool,
) -> Data:
    """The rows of an iterable of (n, d) blocks, in the order they come; read once, and held until they are trained on.

    ``n_tokens`` rows are trained on, and as many must come. Where ``hold_back`` says so the very first rows are only
    calibrated on; if no more than ``n_tokens`` come, the first rows trained on are read again in their place.
    """
    for held in (blocks,) if targets is None else (blocks, targets):
        if not isinstance(held, Iterable) or isinstance(held, (str, bytes, Mapping)):
            raise MonoscopeError(
                f"a {type(held).__name__} holds no rows", fix="pass them as (rows, width), or an iterable of such"
            )
    if n_tokens is None:
        raise MonoscopeError("an iterable of blocks does not say how many rows it holds", fix="pass n_tokens")
    batch_size = batch_of(batch_size, n_tokens)
    _whole_batch(n_tokens, batch_size)
    read = _Blocks(blocks, targets, batch_size, n_tokens, min(CALIBRATION, n_tokens // 20) if hold_back else 0)
    units, row_units = units_of(iter(read.begun)), cache(lambda: row_units_of(x for x, _ in read.begun))
    return Data(read.batches, n_tokens, batch_size, units, row_units, read.first, read.held_out)


def _whole_batch(n_rows: int, batch_size: int) -> None:
    if n_rows < batch_size:
        raise MonoscopeError(
            f"{n_rows:,} rows are fewer than one batch of {batch_size:,}", fix="pass batch_size, or more rows"
        )


class _Blocks:
    """An iterable that is being read: ``begun`` are the batches that were looked at and are still to be trained on."""

    def __init__(
        self, blocks: Iterable[Any], targets: Iterable[Any] | None, batch_size: int, n_tokens: int, back: int
    ) -> None:
        self.batch_size, self.n_tokens, self.back = batch_size, n_tokens, back
        self.stream = _pairs(blocks, targets, chain([back] if back else [], repeat(batch_size)))
        self.held = _own(pair) if back and (pair := next(self.stream, None)) else None
        self.begun: deque[Pair] = deque()
        while sum(len(x) for x, _ in self.begun) < min(SAMPLE, n_tokens - back) and (pair := next(self.stream, None)):
            self.begun.append(_own(pair))
        if not self.begun:
            raise MonoscopeError("there are no activations", fix="give more data")

    def first(self, n: int) -> Pair:
        x, y = _joined(self.begun)
        found = x[:n].to(torch.float32, copy=True)
        return found, found if y is x else y[:n].to(torch.float32, copy=True)

    def held_out(self) -> Float[Tensor, "n d_in"]:
        if self.held is None:
            raise MonoscopeError("no rows of these blocks were kept back", fix="pass hold_back=True")
        return self.held[0].to(torch.float32, copy=True)

    def batches(self, start: int) -> Iterator[Pair]:
        if start:
            raise MonoscopeError("an iterable of blocks cannot be gone on with", fix="pass an array or a harvest")
        read = self.back
        again: list[Pair] = []
        for pair in self._rest():
            read += len(pair[0])
            if len(pair[0]) < self.batch_size:
                break  # the end
            if len(again) * self.batch_size < self.back:
                again.append(_own(pair))
            yield pair
        if read >= self.n_tokens:
            yield from again

    def _rest(self) -> Iterator[Pair]:
        while self.begun:
            yield self.begun.popleft()
        yield from self.stream


def _pairs(blocks: Iterable[Any], targets: Iterable[Any] | None, sizes: Iterator[int]) -> Iterator[Pair]:
    """Blocks of any length as batches of these sizes; at the end, what is left of the last one.

    A batch may lie in memory that the next block is written into: who keeps it makes it his ``_own``.
    """
    held: list[tuple[Tensor, Tensor]] = []
    count, size = 0, next(sizes)
    for block, other in ((b, b) for b in blocks) if targets is None else _paired(blocks, targets):
        x = as_tensor(block, "a block").detach()
        held.append((x, x if other is block else as_tensor(other, "a target block").detach()))
        if len(held[-1][1]) != len(x):
            raise MonoscopeError(
                f"a block of {len(x):,} rows and one of {len(held[-1][1]):,} targets",
                fix="pass blocks of target that hold a row for every row of x",
            )
        if any(a.shape[1] != b.shape[1] for a, b in zip(held[0], held[-1], strict=True)):
            widths = [tuple(part.shape[1] for part in pair) for pair in (held[0], held[-1])]
            raise MonoscopeError(f"blocks of widths {widths[0]} and {widths[1]}", fix="pass blocks of one site")
        count += len(x)
        while count >= size:
            x, y = _joined(held)
            batch, rest = x[:size], x[size:]  # an autoencoder's target stays the same object as its input
            yield _finite(batch, batch if y is x else y[:size])
            held = [(rest, rest if y is x else y[size:])]
            count, size = count - size, next(sizes)
        if count:
            held[-1] = _own(held[-1])
    if count:
        yield _finite(*_joined(held))


def _own(pair: Pair) -> Pair:
    """A copy; an autoencoder's target stays the same object as its input."""
    x, y = pair
    copy = x.clone()
    return copy, copy if y is x else y.clone()


def _paired(blocks: Iterable[Any], targets: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    ended = object()
    for pair in zip_longest(blocks, targets, fillvalue=ended):
        if any(part is ended for part in pair):
            raise MonoscopeError(
                f"blocks of {'x' if pair[0] is ended else 'target'} ended before those of the other",
                fix="pass a block of target for every block of x",
            )
        yield pair


def _joined(held: Iterable[Pair]) -> Pair:
    xs, ys = zip(*held, strict=True)
    x = torch.cat(xs) if len(xs) > 1 else xs[0]
    return x, x if all(a is b for a, b in zip(xs, ys, strict=True)) else torch.cat(ys)


def _finite(x: Tensor, y: Tensor) -> Pair:
    for name, rows in (("x", x), ("target", y))[: 1 + (y is not x)]:
        if not bool(torch.isfinite(rows.float().sum())):
            raise MonoscopeError(f"a row of {name} is not finite", fix="look for overflow where it was made")
    return x, y
