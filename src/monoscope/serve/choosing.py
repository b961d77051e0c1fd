"""Which token comes next: the likeliest, or drawn by the inverse of the cumulative distribution.

One uniform number decides a token, taken from the sequence's own generator. So what is drawn does not depend on which
sequences share the batch, but for rounding where the number lies on the border of two tokens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.serve.wanted import LogProb, Wanted


@dataclass(frozen=True)
class Draw:
    """How a sequence's tokens are chosen, and its generator."""

    wanted: Wanted
    numbers: random.Random

    @classmethod
    def of(cls, wanted: Wanted, choice: int) -> Draw:
        """For one choice of a request; equal seeds give equal numbers."""
        return cls(wanted, random.Random(f"{wanted.seed}/{choice}"))


def choose(logits: Float[Tensor, "n vocabulary"], draws: Sequence[Draw]) -> list[int]:
    """The next token of each row."""
    chosen = logits.argmax(1)
    rows = [i for i, draw in enumerate(draws) if draw.wanted.temperature > 0]
    if rows:
        wanted = [draws[i].wanted for i in rows]
        temperatures = torch.tensor([w.temperature for w in wanted], dtype=torch.float64, device=logits.device)
        shifted = logits[rows].double() - logits[rows].double().amax(
            1, keepdim=True
        )  # a tiny temperature overflows else
        likely = torch.softmax(shifted / temperatures[:, None], 1)
        likely = _nucleus(likely, [w.top_p for w in wanted]).cumsum(1)
        points = torch.tensor([draws[i].numbers.random() for i in rows], dtype=torch.float64, device=logits.device)
        found = torch.searchsorted(likely, points[:, None] * likely[:, -1:], right=True)[:, 0]
        chosen[rows] = found.clamp(max=logits.shape[1] - 1)
    said: list[int] = chosen.tolist()
    return said


def _nucleus(likely: Float[Tensor, "n vocabulary"], shares: Sequence[float]) -> Float[Tensor, "n vocabulary"]:
    """The likeliest tokens of each row that reach its share together, at least one; the others become 0."""
    rows = [i for i, share in enumerate(shares) if share < 1]
    if not rows:
        return likely
    share = torch.tensor([shares[i] for i in rows], dtype=likely.dtype, device=likely.device)
    ordered, places = likely[rows].sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(1) - ordered
    kept = ordered.where((before < share[:, None]) | (torch.arange(likely.shape[1], device=likely.device) == 0), 0.0)
    likely[rows] = torch.zeros_like(ordered).scatter(1, places, kept)
    return likely


def logprobs(
    logits: Float[Tensor, "n vocabulary"], chosen: Sequence[int], tops: Sequence[int | None]
) -> list[LogProb | None]:
    """What each chosen token's log-probability was, where it was asked for, and the likeliest tokens."""
    out: list[LogProb | None] = [None] * len(chosen)
    rows = [i for i, top in enumerate(tops) if top is not None]
    if not rows:
        return out
    found = torch.log_softmax(logits[rows].float(), 1)
    most = max(tops[i] or 0 for i in rows)
    values, tokens = found.topk(min(most, found.shape[1]), 1)
    for at, i in enumerate(rows):
        listed = _listed(tokens[at], values[at], tops[i] or 0)
        out[i] = LogProb(float(found[at, chosen[i]]), listed)
    return out


def _listed(tokens: Int[Tensor, " k"], values: Float[Tensor, " k"], most: int) -> tuple[tuple[int, float], ...]:
    return tuple(zip(tokens[:most].tolist(), values[:most].tolist(), strict=True))
