"""How many tokens fit into some minutes: a short trial on this machine, made once, before the plan is written."""

from __future__ import annotations

import time

import torch

from monoscope.app.plan import default_site, held_out, training
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.ops import product
from monoscope.train import rows
from monoscope.train.fit import Recipe
from monoscope.types import TokenBlock

FIXED = 20.0  # seconds that no number of tokens changes: starting, compiling kernels, drawing pages
HARVESTED = 1.5  # forward passes of the cut model over each training token, with what storing it takes
TRAINED = 2.0  # steps of each training token in an epoch: the dictionary and its frozen control
SPLICED, ENCODED = 7.5, 3.0  # passes and steps' worth of each held-out token: evaluation, catalogue, effects, labels
LEAST, MOST = 20_000, 100_000_000


def affordable(lm: LanguageModel, site: str | None, minutes: float, features: int, *, full: bool) -> int:
    """Training tokens for a run of about ``minutes``.

    Raises:
        MonoscopeError: not even a small run fits.
    """
    forward, step = trial(lm, site or default_site(lm), features)
    left = (60 * minutes - FIXED) / (2 if full else 1)

    def seconds(tokens: int) -> float:
        taught = tokens * (HARVESTED * forward + TRAINED * training(tokens)[1] * step)
        return taught + 2 * held_out(tokens) * (SPLICED * forward + ENCODED * step)

    tokens = max((n for n in range(0, MOST, 1000) if seconds(max(n, 1)) <= left), default=0)
    if tokens < LEAST:
        raise MonoscopeError(
            f"{minutes:g} minutes are too few for this model on this machine",
            fix=f"allow {minutes + 2:g}, or pass --tokens {LEAST}",
        )
    return tokens


def trial(lm: LanguageModel, site: str, features: int) -> tuple[float, float]:
    """Seconds per token of the cut forward pass, and of a training step."""
    generator = torch.Generator().manual_seed(0)
    shape = (max(1, 4096 // lm.context), lm.context)
    tokens = torch.randint(0, lm.tokeniser.vocabulary_size, shape, generator=generator)
    block = TokenBlock(tokens, torch.zeros_like(tokens), torch.arange(lm.context).expand(shape))

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return lm.run(block, read=[site])[site]

    x = forward().reshape(-1, lm.width(site)).float().clone()
    data = rows.from_arrays(x, None, len(x), None, 0, hold_back=False)
    trainee = Recipe.of("topk", features, precision=str(product.fastest()).removeprefix("torch.")).trainee(data)
    trainee.step(x, x, 0, 10 * len(x))  # compiles
    return fastest(forward) / tokens.numel(), fastest(lambda: trainee.step(x, x, 0, 10 * len(x))) / len(x)


def fastest(call: object, times: int = 3) -> float:
    """The least time that a call takes, in seconds."""
    assert callable(call)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)
