"""The positive entries of a block of scores that exceed a floor, row after row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import prange
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.product import Tile
from monoscope.ops.room import room
from monoscope.ops.topk import BITS, BY, GROUPS, collect, group_maxima

CHUNK = 32  # rows that one thread takes at a time
ROOM = 96  # entries a row that a first search has room for, on average over a chunk


class Ragged(NamedTuple):
    """Entries of rows, row after row: how many each row has, their columns, their values in fp32."""

    counts: Int[Tensor, " n_rows"]
    columns: Int[Tensor, " m"]
    values: Float[Tensor, " m"]


def reference(scores: Float[Tensor, "n n_features"], floor: float) -> Ragged:
    """The entries of each row that exceed ``floor``, by a mask."""
    mask = scores > floor
    rows, columns = mask.nonzero(as_tuple=True)
    return Ragged(mask.sum(1), columns.int(), scores[rows, columns].float())


def above(scores: Float[Tensor, "n n_features"], floor: float) -> Ragged:
    """The entries of each row that exceed ``floor``, within a row in no particular order.

    On a CPU, for a floor ≥ 0, positive floats are compared as the integers that their bits are, and only groups of
    entries whose maximum exceeds the floor are searched (see ``topk``).
    """
    if scores.device.type != "cpu" or scores.dtype not in BITS or floor < 0:
        return reference(scores, floor)
    found = _search(scores, floor)
    total = int(found.counts.sum())
    columns, values = room(total, dtype=torch.int32), room(total)
    _move(found, 0, found.counts.cumsum(0) - found.counts, columns, values)
    return Ragged(found.counts, columns, values)


def above_of_tiles(tiles: Iterable[Tile], n_rows: int, floor: float) -> Ragged:
    """The same of the scores of ``n_rows`` rows that come in tiles."""
    parts = [(row, feature, _search(scores, floor)) for row, feature, scores, _ in tiles]
    if not parts:
        raise MonoscopeError("there are no scores to choose from")
    blocks = {feature: i for i, feature in enumerate(dict.fromkeys(feature for _, feature, _ in parts))}
    device = parts[0][2].values.device
    counts = torch.zeros(n_rows, len(blocks), dtype=torch.long, device=device)
    for row, feature, part in parts:
        counts[row : row + len(part.counts), blocks[feature]] = part.counts
    starts = counts.flatten().cumsum(0).view_as(counts) - counts
    total = int(counts.sum())
    columns, values = room(total, dtype=torch.int32, device=device), room(total, device=device)
    for row, feature, part in parts:
        _move(part, feature, starts[row : row + len(part.counts), blocks[feature]].contiguous(), columns, values)
    return Ragged(counts.sum(1), columns, values)


class _Found(NamedTuple):
    """Entries of rows as they were found: where each row's begin, how many they are, columns, values."""

    starts: Tensor
    counts: Tensor
    columns: Tensor
    values: Tensor


def _search(scores: Tensor, floor: float) -> _Found:
    if scores.device.type != "cpu" or scores.dtype not in BITS or floor < 0:
        counts, columns, values = reference(scores, floor)
        return _Found(counts.cumsum(0) - counts, counts, columns, values)
    least = (int(torch.tensor(floor + 0.0, dtype=torch.float32).view(torch.int32)) >> BY[scores.dtype]) + 1
    bits = scores.contiguous().view(BITS[scores.dtype]).numpy()
    chunks = -(-len(bits) // CHUNK)
    starts, counted, needed = (np.empty(size, np.int64) for size in (len(bits), len(bits), chunks))
    space, wanted = 0, CHUNK * min(ROOM, bits.shape[1])
    while space < wanted:  # a second time only where the first guess was too small
        space = wanted
        places, found = room(chunks, space, dtype=torch.int32), room(chunks, space, dtype=scores.dtype)
        _collect_rows(bits, least, starts, counted, places.numpy(), found.view(BITS[scores.dtype]).numpy(), needed)
        wanted = int(needed.max(initial=0))
    return _Found(torch.from_numpy(starts), torch.from_numpy(counted), places.reshape(-1), found.reshape(-1))


def _move(part: _Found, feature: int, to: Tensor, columns: Tensor, values: Tensor) -> None:
    """Write a tile's entries where those of each row are to begin."""
    if part.values.device.type == "cpu" and part.values.dtype in BITS:
        bits = BITS[part.values.dtype]
        shift = BY[part.values.dtype]
        arrays = (t.numpy() for t in (part.starts, part.counts, part.columns, part.values.view(bits), to, columns))
        _move_rows(feature, shift, *arrays, values.view(torch.int32).numpy())
        return
    moved = to - part.starts
    places = torch.arange(len(part.values), device=to.device) + torch.repeat_interleave(moved, part.counts)
    columns[places], values[places] = part.columns.int() + feature, part.values.float()


@parallel()
def _move_rows(feature, shift, starts, counts, columns, bits, to, all_columns, all_bits):  # type: ignore[no-untyped-def]
    for i in prange(len(counts)):
        for e in range(counts[i]):
            all_columns[to[i] + e] = columns[starts[i] + e] + feature
            all_bits[to[i] + e] = np.int32(bits[starts[i] + e]) << shift


@inner
def _collect_some(first, last, bits, least, begin, starts, counts, columns, values):  # type: ignore[no-untyped-def]
    """Rows ``first`` to ``last`` into a room that begins at ``begin``; returns how many entries they have.

    As long as the room suffices they are written, and counted after that. What a parallel loop holds takes several
    times as long to compile, and so does assigning slices.
    """
    maxima = np.empty(GROUPS, bits.dtype)
    groups = np.empty(GROUPS + 1, np.int32)
    found = np.empty(bits.shape[1] + 1, bits.dtype)
    places = np.empty(bits.shape[1] + 1, np.int32)
    at = 0
    for i in range(first, last):
        group_maxima(bits[i], maxima)
        count = collect(bits[i], maxima, least, groups, found, places)
        if at + count <= len(columns):
            to = np.uint64(at)  # unsigned, as in ``collect``
            for c in range(np.uint64(count)):
                columns[to + c] = places[c]
                values[to + c] = found[c]
        starts[i] = begin + at
        counts[i] = count
        at += count
    return at


@parallel()
def _collect_rows(bits, least, starts, counts, columns, values, needed):  # type: ignore[no-untyped-def]
    for chunk in prange(len(needed)):
        rows = (chunk * CHUNK, min(len(bits), chunk * CHUNK + CHUNK))
        begin = chunk * columns.shape[1]
        needed[chunk] = _collect_some(*rows, bits, least, begin, starts, counts, columns[chunk], values[chunk])
