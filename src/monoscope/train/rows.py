"""Rows to train on, from whatever holds them: arrays, an iterable of blocks, shards, a running model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.source import Epochs, RowSource, batches
from monoscope.train.loop import Data, sample_of
from monoscope.train.transfer import Pair
from monoscope.types import Activations

SAMPLE = 65_536  # rows that normalisation and initialisation look at
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

    def pairs(of: RowSource, start: int, stop: int, size: int) -> Iterator[Pair]:
        for rows in batches(of, size, start=start, stop=stop):
            x = rows.values[site]
            yield x, x if target is None else rows.values[target]

    sample = sample_of(pairs(source, 0, once, min(batch_size, once)), min(SAMPLE, once))
    held = sample_of(pairs(source, once, total, back), back)[0] if back else sample[0]
    return Data(lambda start: pairs(repeated, start, n_rows, batch_size), n_rows, batch_size, sample, held)


class ArraySource:
    """A ``RowSource`` over an array of rows (and one of targets), in an order by ``seed``."""

    CHUNK = 131_072

    def __init__(self, x: Tensor, y: Tensor | None, seed: int) -> None:
        self.x, self.y = x, y
        self.widths = {"x": x.shape[1]} | ({} if y is None else {"y": y.shape[1]})
        self.counts = [min(self.CHUNK, len(x) - first) for first in range(0, len(x), self.CHUNK)]
        self._order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))

    def chunk(self, index: int) -> Activations:
        """One piece of the order; ``documents`` are the rows' places in the array."""
        order = self._order[index * self.CHUNK : (index + 1) * self.CHUNK]
        values = {"x": self.x[order]} | ({} if self.y is None else {"y": self.y[order]})
        return Activations(values, order, torch.zeros_like(order))


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
    """The rows of an iterable of (n, d) blocks, in the order they come; read once, never held."""
    if n_tokens is None:
        raise MonoscopeError("an iterable of blocks does not say how many rows it holds", fix="pass n_tokens")
    stream = _pairs(blocks, targets, batch_size)
    first: list[Pair] = []
    while sum(len(x) for x, _ in first) < min(SAMPLE, n_tokens):
        pair = next(stream, None)
        if pair is None:
            break
        first.append(pair)
    sample = sample_of(iter(first), SAMPLE)
    back = min(CALIBRATION, len(sample[0]) // 20) if hold_back else 0
    held = sample[0][:back] if back else sample[0]

    def batches_from(start: int) -> Iterator[Pair]:
        if start:
            raise MonoscopeError("an iterable of blocks cannot be gone on with", fix="pass an array or a harvest")
        return chain(first, stream)

    return Data(batches_from, n_tokens, batch_size, sample, held)


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
