"""Where training rows come from: numbered chunks, each a shuffled sample of the whole, the same every time.

A ``RowSource`` knows how many rows each chunk holds before it makes one. So a reader can begin at any row, and a
resumed training sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from monoscope.errors import MonoscopeError
from monoscope.types import Activations


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

    def chunk(self, index: int) -> Activations:
        """The rows of one chunk, in their final order."""
        ...


class Epochs:
    """The first ``rows`` rows of a source, over and over; from the second time on, each chunk in a new order."""

    def __init__(self, source: RowSource, rows: int, epochs: int, seed: int) -> None:
        self.source, self.seed, self.widths = source, seed, source.widths
        before = np.concatenate([[0], np.cumsum(source.counts)])
        once = np.clip(rows - before[:-1], 0, source.counts)
        self._once = once[once > 0].tolist()
        self.counts = self._once * epochs

    def chunk(self, index: int) -> Activations:
        """A chunk of the source, reordered by epoch."""
        epoch, place = divmod(index, len(self._once))
        rows = _slice(self.source.chunk(place), 0, self._once[place])
        if epoch == 0:
            return rows
        order = torch.from_numpy(np.random.default_rng((self.seed, epoch, place)).permutation(len(rows)))
        values = {site: v[order] for site, v in rows.values.items()}
        return Activations(values, rows.documents[order], rows.positions[order])


def batches(source: RowSource, size: int, *, start: int = 0, stop: int | None = None) -> Iterator[Activations]:
    """Consecutive batches of ``size`` rows, across chunks, from row ``start`` up to row ``stop``; the rest is dropped.

    Raises:
        MonoscopeError: there are fewer rows than one batch, or an activation is not finite.
    """
    total = sum(source.counts)
    stop = total if stop is None else min(stop, total)
    if stop - start < size and start == 0:
        raise MonoscopeError(
            f"{stop:,} rows are fewer than one batch of {size:,}", fix="give more text, or choose a smaller batch size"
        )
    held: list[Activations] = []
    at = 0  # first row of the chunk at hand
    for index, count in enumerate(source.counts):
        if at + count > start and at < stop:
            rows = _slice(source.chunk(index), max(0, start - at), min(count, stop - at))
            held.append(rows)
            yield from _cut(held, size)
        at += count


def _cut(held: list[Activations], size: int) -> Iterator[Activations]:
    """Take whole batches out of ``held``, leaving the remainder in it."""
    rows = held[0] if len(held) == 1 else _join(held)
    whole = len(rows) // size * size
    for first in range(0, whole, size):
        batch = _slice(rows, first, first + size)
        _refuse_nan(batch)
        yield batch
    held[:] = [_slice(rows, whole, len(rows))] if whole < len(rows) else []


def _refuse_nan(batch: Activations) -> None:
    for site, values in batch.values.items():
        if not bool(torch.isfinite(values.sum(dtype=torch.float32))):
            bad = ~torch.isfinite(values).all(1)
            if bool(bad.any()):
                row = int(bad.nonzero()[0])
                raise MonoscopeError(
                    f"an activation at {site} is not finite",
                    where=f"document {int(batch.documents[row])}, token {int(batch.positions[row])}",
                    fix="look for overflow in the model's forward pass (try dtype float32)",
                )


def _slice(rows: Activations, first: int, last: int) -> Activations:
    return Activations(
        {site: v[first:last] for site, v in rows.values.items()}, rows.documents[first:last], rows.positions[first:last]
    )


def _join(parts: list[Activations]) -> Activations:
    return Activations(
        {site: torch.cat([p.values[site] for p in parts]) for site in parts[0].values},
        torch.cat([p.documents for p in parts]),
        torch.cat([p.positions for p in parts]),
    )
