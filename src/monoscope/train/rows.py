"""Rows to train on, from whatever holds them: arrays, an iterable of blocks, shards, a running model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.source import Epochs, Picked, RowSource, batches
from monoscope.train.loop import SAMPLE, Data, Pair
from monoscope.train.trainee import Units
from monoscope.types import Activations

CALIBRATION = 32_768  # rows kept back for calibration, at most a twentieth


def from_source(
    source: RowSource,
    site: str,
    target: str | None,
    batch_size: int,
    n_tokens: int | None = None,
    *,
    hold_back: bool,
    epochs: int = 1,
    seed: int = 0,
) -> Data:
    """The rows of ``site`` (and of ``target``) in a ``RowSource``; resumable at any row.

    Args:
        source: the rows; the last of them are never trained on where ``hold_back`` says so.
        site, target: what is read, and what is reconstructed, if another.
        batch_size: rows per step.
        n_tokens: rows to train on; more than there are mean several epochs. None: ``epochs`` of them.
        hold_back: keep rows for calibration.
        epochs: how often each row is seen, without ``n_tokens``.
        seed: the order of later epochs.
    """
    total = sum(source.counts)
    back = min(CALIBRATION, total // 20) if hold_back else 0
    once = total - back
    n_rows = n_tokens or epochs * once
    repeated = Epochs(source, once, -(-n_rows // once), seed)

    def pair(rows: Activations) -> Pair:
        x = rows.values[site]
        return x, x if target is None else rows.values[target]

    def first(n: int) -> Pair:
        x = copied(source, site, 0, min(n, once))
        return x, x if target is None else copied(source, target, 0, min(n, once))

    return Data(
        batches=lambda start: map(pair, batches(repeated, batch_size, start=start, stop=n_rows)),
        n_rows=n_rows,
        batch_size=batch_size,
        units=units_of(map(pair, pieces(source, 0, min(SAMPLE, once)))),
        first=first,
        held_out=lambda: copied(source, site, once, total) if back else first(CALIBRATION)[0],
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
    rows = torch.empty(stop - start, source.widths[site])
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


@dataclass(frozen=True)
class Spread:
    """How many rows there were, their mean, and the sum of squared distances from it."""

    count: int = 0
    mean: Float[Tensor, " d"] = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    squares: float = 0.0

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"]) -> Spread:
        """That of some rows."""
        exact = rows.double()
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
        self.widths = {"x": x.shape[1]} | ({} if y is None else {"y": y.shape[1]})
        self.counts = [min(self.CHUNK, len(x) - first) for first in range(0, len(x), self.CHUNK)]
        self._order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)).astype(np.int32))

    def chunk(self, index: int) -> Picked:
        """One piece of the order; ``documents`` are the rows' places in the array."""
        return Picked(self._at, self._order[index * self.CHUNK : (index + 1) * self.CHUNK])

    def _at(self, places: Int[Tensor, " n"]) -> Activations:
        values = {"x": self.x[places]} | ({} if self.y is None else {"y": self.y[places]})
        return Activations(values, places, torch.zeros_like(places))


def as_tensor(rows: Any, name: str) -> Tensor:
    """An array or tensor of shape (n, d) as a tensor, without copying.

    Raises:
        MonoscopeError: another shape, or numbers that are not real.
    """
    tensor = rows if isinstance(rows, Tensor) else torch.from_numpy(np.asarray(rows))
    if tensor.ndim != 2 or tensor.is_complex() or tensor.dtype == torch.bool:
        raise MonoscopeError(
            f"{name} has shape {tuple(tensor.shape)} and type {tensor.dtype}",
            fix=f"pass {name} as (rows, width) of real numbers",
        )
    return tensor


def from_arrays(
    x: Any, target: Any | None, batch_size: int, n_tokens: int | None, seed: int, *, hold_back: bool
) -> Data:
    """The rows of an array; more tokens than rows mean several epochs."""
    rows = as_tensor(x, "x")
    outs = None if target is None else as_tensor(target, "target")
    if outs is not None and len(outs) != len(rows):
        raise MonoscopeError(
            f"{len(rows)} rows of x and {len(outs)} of target", fix="pass one target row for every row of x"
        )
    if len(rows) < batch_size:
        raise MonoscopeError(
            f"{len(rows):,} rows are fewer than one batch of {batch_size:,}", fix="pass batch_size, or more rows"
        )
    site = None if outs is None else "y"
    return from_source(ArraySource(rows, outs, seed), "x", site, batch_size, n_tokens, hold_back=hold_back, seed=seed)


def from_blocks(
    blocks: Iterable[Any], targets: Iterable[Any] | None, batch_size: int, n_tokens: int | None, *, hold_back: bool
) -> Data:
    """The rows of an iterable of (n, d) blocks, in the order they come; read once, and held until they are trained on.

    The first batches are read here, for their units.
    """
    if n_tokens is None:
        raise MonoscopeError("an iterable of blocks does not say how many rows it holds", fix="pass n_tokens")
    stream = _pairs(blocks, targets, batch_size)
    begun: deque[Pair] = deque()
    while sum(len(x) for x, _ in begun) < min(SAMPLE, n_tokens) and (pair := next(stream, None)):
        begun.append(pair)
    if not begun:
        raise MonoscopeError("there are no activations", fix="give more data")
    back = min(CALIBRATION, sum(len(x) for x, _ in begun) // 20) if hold_back else 0
    held = torch.cat([x.float() for x, _ in begun])[: back or CALIBRATION]

    def first(n: int) -> Pair:
        x = torch.cat([x.float() for x, _ in begun])[:n]
        return x, x if targets is None else torch.cat([y.float() for _, y in begun])[:n]

    def batches_from(start: int) -> Iterator[Pair]:
        if start:
            raise MonoscopeError("an iterable of blocks cannot be gone on with", fix="pass an array or a harvest")
        while begun:
            yield begun.popleft()
        yield from stream

    return Data(batches_from, n_tokens, batch_size, units_of(iter(begun)), first, lambda: held)


def _pairs(blocks: Iterable[Any], targets: Iterable[Any] | None, size: int) -> Iterator[Pair]:
    """Blocks of any length as batches of ``size`` rows."""
    held: list[tuple[Tensor, Tensor]] = []
    count = 0
    paired: Iterable[Sequence[Any]] = ((b, b) for b in blocks) if targets is None else zip(blocks, targets, strict=True)
    for block, other in paired:
        x = as_tensor(block, "a block")
        held.append((x, x if other is block else as_tensor(other, "a target block")))
        count += len(x)
        while count >= size:
            x = torch.cat([a for a, _ in held]) if len(held) > 1 else held[0][0]
            y = x if targets is None else torch.cat([b for _, b in held])
            batch = x[:size]
            if not bool(torch.isfinite(batch.float().sum())):
                raise MonoscopeError(
                    "a row of x is not finite", fix="look for overflow where the activations were made"
                )
            yield batch, batch if targets is None else y[:size]
            held = [(x[size:], y[size:])]
            count -= size
