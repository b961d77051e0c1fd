"""A library's trainer, as the clock and the judge see it, and what all of them are given alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LONG = 1 << 40  # tokens or steps of silence that count as dead everywhere
BURIED = -100.0  # an encoder bias below every score

Codes = tuple[Tensor, Tensor]  # reconstruction, and the feature of every active entry


@dataclass
class Contender:
    """A library's trainer, as the clock and the judge see it."""

    step: Callable[[Tensor], object]  # one training step on a batch
    code: Callable[[Tensor], Tensor]  # dense codes as training has them
    infer: Callable[[], tuple[Callable[[Tensor], Codes], str]]  # the library's own inference, and a remark on it
    bias: Tensor | None = None  # of the encoder
    silence: Callable[[Tensor], None] | None = None  # count features as long dead
    lead: Callable[[float], None] | None = None  # multiply the penalty's coefficient
    select: Callable[[Tensor], Codes] | None = None  # as in training, where inference has another selection
    parts: tuple[object, ...] = ()  # what holds all that training changes


def lengths(setting: dict[str, Any]) -> tuple[int, int, int]:
    """Steps in all, of warm-up, of decay."""
    steps = setting["steps"]
    return steps, max(1, steps // 20), max(1, steps // 5)


def autocast(setting: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """bf16 where the setting asks for it."""
    return torch.autocast("cpu", torch.bfloat16) if setting["autocast"] else contextlib.nullcontext()


def dense(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Codes]:
    """Inference of a library whose codes are dense."""

    def run(x: Tensor) -> Codes:
        code = encode(x)
        return decode(code), code.nonzero()[:, 1]

    return run


def bury(made: Contender, share: float) -> None:
    """Make that share of the features dead: below every score, and counted as long silent."""
    if not share or made.bias is None:
        return
    places = torch.arange(round(share * len(made.bias)))
    with torch.no_grad():
        made.bias[places] = BURIED
    if made.silence is not None:
        made.silence(places)
