"""How many tokens fit into some minutes: a short trial on this machine, made once, before the plan is written."""

from __future__ import annotations

import time

import torch

from monoscope.app.plan import default_site
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.ops import product
from monoscope.train import rows
from monoscope.train.fit import Recipe
from monoscope.types import TokenBlock

FIXED = 30.0  # seconds that no number of tokens changes: starting, compiling kernels, drawing pages
PASSES = 8.0  # of the cut model over the training tokens: harvest, evaluation with splices, catalogue, effects
STEPS = 3.0  # training steps' worth: the dictionary, its frozen control, encoding the catalogue
LEAST = 20_000


def affordable(lm: LanguageModel, site: str | None, minutes: float, features: int, *, full: bool) -> int:
    """Training tokens for a run of about ``minutes``.

    Raises:
        MonoscopeError: not even a small run fits.
    """
    forward, step = trial(lm, site or default_site(lm), features)
    per_token = (PASSES * forward + STEPS * step) * (2 if full else 1)
    tokens = int((60 * minutes - FIXED) / per_token)
    if tokens < LEAST:
        raise MonoscopeError(
            f"{minutes:g} minutes are too few for this model on this machine",
            fix=f"allow {minutes + 2:g}, or pass --tokens {LEAST}",
        )
    return min(tokens, 100_000_000) // 1000 * 1000


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
