"""Batches on their way to the device that trains: each travels while the device works on the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

Pair = tuple[Float[Tensor, "n d_in"], Float[Tensor, "n d_out"]]


def moved(pairs: Iterable[Pair], device: torch.device) -> Iterator[Pair]:
    """The same pairs on ``device``, in order; an autoencoder's target stays the same object as its input.

    For a CUDA device one pair is read ahead, and copied from pinned memory on a stream of its own.
    """
    if device.type == "cuda":
        return _ahead(pairs, device)
    return map(lambda pair: sent(pair[0], pair[1], device), pairs)  # holds no pair while it is worked on


def _ahead(pairs: Iterable[Pair], device: torch.device) -> Iterator[Pair]:
    stream = torch.cuda.Stream(device)
    under_way: tuple[Pair, torch.cuda.Event] | None = None
    for x, y in pairs:
        with torch.cuda.stream(stream):
            pair = sent(_pinned(x), _pinned(y) if y is not x else None, device)
            departed = pair, stream.record_event()
        if under_way is not None:
            yield _arrived(*under_way)
        under_way = departed
    if under_way is not None:
        yield _arrived(*under_way)


def _pinned(rows: Tensor) -> Tensor:
    return rows.pin_memory() if rows.device.type == "cpu" else rows


def sent(x: Tensor, y: Tensor | None, device: torch.device) -> Pair:
    """A pair on its way to ``device``; no ``y``, or ``x`` itself, stays the same object as ``x``."""
    first = x.to(device, non_blocking=True)
    return first, first if y is None or y is x else y.to(device, non_blocking=True)


def _arrived(pair: Pair, event: torch.cuda.Event) -> Pair:
    """The pair, for the stream that is at work: it waits for the copy, and keeps the memory until it is done."""
    at_work = torch.cuda.current_stream(pair[0].device)
    at_work.wait_event(event)
    for rows in pair:
        rows.record_stream(at_work)
    return pair
