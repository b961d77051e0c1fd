"""Where training rows come from: numbered chunks, each a shuffled sample of the whole, the same every time.

A ``RowSource`` knows how many rows each chunk holds before it makes one. So a reader can begin at any row, and a
resumed training sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.types import Activations

Places = slice | Int[Tensor, " n"]
OF_ARRAY = -1  # the position of rows that stand in no document but in an array, and have its row for a document
AGAIN = 2  # sets the orders of later epochs apart from those in which streams of the same seed lay out their chunks


class Chunk(Protocol):
    """Rows in their final order, given out in parts: ``Activations``, or ``Picked`` ones, which are made late."""

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def __getitem__(self, rows: Places) -> Activations:
        """Some of the rows."""
        ...


class RowSource(Protocol):
    """Chunks of row-aligned activations."""

    @property
    def counts(self) -> Sequence[int]:
        """The number of rows of each chunk."""
        ...

    @property
    def widths(self) -> dict[str, int]:
        """The width of each site."""
        ...

    def chunk(self, index: int) -> Chunk:
        """The rows of one chunk."""
        ...


class Picked:
    """Rows of something larger, in an order of their own; only those that are asked for are copied.

    Args:
        fetch: gives the rows at some places.
        order: the places.
    """

    def __init__(self, fetch: Callable[[Int[Tensor, " n"]], Activations], order: Int[Tensor, " n"]) -> None:
        self.fetch, self.order = fetch, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, rows: Places) -> Activations:
        """The rows at these places of the order."""
        return self.fetch(self.order[rows])


class Beginning:
    """The first rows of a chunk, still in parts: what is not asked for is not copied."""

    def __init__(self, rows: Chunk, count: int) -> None:
        self.rows, self.count = rows, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Places) -> Activations:
        """Some of them."""
        if isinstance(rows, slice):
            rows = slice(*rows.indices(self.count))
        return self.rows[rows]


class Epochs:
    """The first ``rows`` rows of a source, over and over; from the second time on, each chunk in a new order."""

    def __init__(self, source: RowSource, rows: int, epochs: int, seed: int) -> None:
        self.source, self.seed, self.widths = source, seed, source.widths
        before = np.concatenate([[0], np.cumsum(source.counts)])
        once = np.clip(rows - before[:-1], 0, source.counts)
        self._once = once[once > 0].tolist()
        self.counts = self._once * epochs

    def chunk(self, index: int) -> Chunk:
        """A chunk of the source, reordered by epoch."""
        epoch, place = divmod(index, len(self._once))
        rows, count = self.source.chunk(place), self._once[place]
        if epoch == 0:
            return rows if count == len(rows) else Beginning(rows, count)
        order = np.random.default_rng((self.seed, AGAIN, epoch, place)).permutation(count)
        return Picked(rows.__getitem__, torch.from_numpy(order))


def batches(source: RowSource, size: int, *, start: int = 0, stop: int | None = None) -> Iterator[Activations]:
    """Consecutive batches of ``size`` rows, across chunks, from row ``start`` up to row ``stop``; the rest is dropped.

    Nothing is held beside a chunk but the beginning of a batch that goes on in the next one.

    Raises:
        MonoscopeError: there are fewer rows than one batch, or an activation is not finite.
    """
    total = sum(source.counts)
    stop = total if stop is None else min(stop, total)
    if stop - start < size and start == 0:
        raise MonoscopeError(
            f"{stop:,} rows are fewer than one batch of {size:,}", fix="give more text, or choose a smaller batch size"
        )
    begun: list[Activations] = []
    at = 0  # first row of the chunk at hand
    for index, count in enumerate(source.counts):
        if at + count > start and at < stop:
            yield from _cut(source.chunk(index), range(max(0, start - at), min(count, stop - at)), size, begun)
        at += count


def _cut(chunk: Chunk, rows: range, size: int, begun: list[Activations]) -> Iterator[Activations]:
    """Whole batches of ``begun`` and then these rows of a chunk; what is left over is copied into ``begun``."""
    first = rows.start
    while first < rows.stop:
        last = min(rows.stop, first + size - sum(map(len, begun)))
        begun.append(chunk[first:last])
        first = last
        if sum(map(len, begun)) == size:
            yield _whole(begun)
    if begun:
        begun[:] = [_join(begun)]  # so that no chunk is held by a few of its rows


def _whole(parts: list[Activations]) -> Activations:
    """The parts as one batch, taken out of their list: whoever asked for it is the only one to hold it."""
    batch = parts[0] if len(parts) == 1 else _join(parts)
    parts.clear()
    _refuse_nan(batch)
    return batch


def _refuse_nan(batch: Activations) -> None:
    for site, values in batch.values.items():
        if not bool(torch.isfinite(values.sum(dtype=torch.float32))):
            bad = ~torch.isfinite(values).all(1)
            if bool(bad.any()):
                row = int(bad.nonzero()[0])
                document, position = int(batch.documents[row]), int(batch.positions[row])
                if position == OF_ARRAY:
                    raise MonoscopeError(f"row {document} of {site} is not finite", fix="leave out or mend such rows")
                raise MonoscopeError(
                    f"an activation at {site} is not finite",
                    where=f"document {document}, token {position}",
                    fix="look for overflow in the model's forward pass (try dtype float32)",
                )


def _join(parts: list[Activations]) -> Activations:
    return Activations(
        {site: torch.cat([p.values[site] for p in parts]) for site in parts[0].values},
        torch.cat([p.documents for p in parts]),
        torch.cat([p.positions for p in parts]),
    )
