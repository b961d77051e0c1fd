"""Rows with known directions, and data of them, for the tests of training."""

from __future__ import annotations

from functools import cache

import torch

from monoscope.train import rows

D, TRUE = 24, 48


def planted(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows made of few of ``TRUE`` unit directions, and the directions; the caller's own, made once."""
    x, directions = _planted(n, seed)
    return x.clone(), directions.clone()


@cache
def _planted(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(TRUE, D, generator=generator))
    generator = torch.Generator().manual_seed(100 + seed)
    active = (torch.rand(n, TRUE, generator=generator) < 0.06) * torch.rand(n, TRUE, generator=generator)
    return active @ directions + 0.5, directions


def data_of(n: int = 20_000, batch: int = 500, *, hold_back: bool = False):
    return rows.from_arrays(planted(n)[0], None, batch, None, 0, hold_back=hold_back)


def recovered(dictionary, directions) -> float:
    """Mean over true directions of the best cosine with a learned one."""
    learned = torch.nn.functional.normalize(dictionary.directions)
    return float((learned @ directions.T).max(0).values.mean())
