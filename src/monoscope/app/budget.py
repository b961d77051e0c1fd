"""How many tokens fit into some minutes: a short trial on this machine, made once, before the plan is written."""

from __future__ import annotations

import time
from functools import cache, partial
from itertools import takewhile

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.app.plan import default_features, default_site, held_out, training
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.ops import product
from monoscope.train import rows
from monoscope.train.fit import Recipe
from monoscope.train.loop import normalised
from monoscope.types import TokenBlock

FIXED = 20.0  # seconds that no number of tokens changes: starting, compiling kernels, drawing pages
HARVESTED = 1.5  # forward passes of the cut model over each training token, with what storing it takes
TRAINED = 2.0  # steps of each training token in an epoch: the dictionary and its frozen control
SPLICED, ENCODED = 7.5, 3.0  # passes and steps' worth of each held-out token: evaluation, catalogue, effects, labels
LEAST, MOST = 20_000, 100_000_000


def affordable(lm: LanguageModel, site: str | None, minutes: float, features: int | None, *, full: bool) -> int:
    """Training tokens for a run of about ``minutes``; without ``features``, with as many as suit the tokens.

    Raises:
        MonoscopeError: not even a small run fits, or there is no time at all.
    """
    if not minutes > 0:
        raise MonoscopeError(
            f"a run of {minutes:g} minutes", fix="allow more than none with --minutes, or pass --tokens"
        )
    rows_seen, forward = passed(lm, site or default_site(lm))
    step = cache(partial(taught, rows_seen))
    left = (60 * minutes - FIXED) / (2 if full else 1)

    def seconds(tokens: int) -> float:
        size, epochs = training(tokens)
        one = step(size, features or default_features(tokens))
        learning = tokens * (HARVESTED * forward + TRAINED * epochs * one)
        return learning + 2 * held_out(tokens) * (SPLICED * forward + ENCODED * one)

    fitting = takewhile(lambda tokens: seconds(tokens) <= left, range(1000, MOST, 1000))
    tokens = max(fitting, default=0)
    if tokens < LEAST:
        raise MonoscopeError(
            f"{minutes:g} minutes are too few for this model on this machine",
            fix=f"allow {minutes + 2:g}, or pass --tokens {LEAST}",
        )
    return tokens


def passed(lm: LanguageModel, site: str) -> tuple[Float[Tensor, "n d"], float]:
    """Some rows of a site, and the seconds a token that the cut forward pass takes."""
    generator = torch.Generator().manual_seed(0)
    shape = (max(1, 4096 // lm.context), lm.context)
    tokens = torch.randint(0, lm.tokeniser.vocabulary_size, shape, generator=generator)
    block = TokenBlock(tokens, torch.zeros_like(tokens), torch.arange(lm.context).expand(shape))

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return lm.run(block, read=[site])[site]

    x = forward().reshape(-1, lm.width(site)).float().clone()
    return x, fastest(forward) / tokens.numel()


def taught(x: Float[Tensor, "n d"], size: int, features: int) -> float:
    """Seconds a row that a training step takes on batches of ``size`` rows.

    The step is one of a long training: where few rows are to come, most features would soon count as dead.
    """
    size = min(size, len(x))
    data = rows.from_arrays(x, None, size, 1000 * size, 0, hold_back=False)
    trainee = Recipe.of("topk", features, precision=str(product.fastest()).removeprefix("torch.")).trainee(data)
    pair = normalised(*next(data.batches(0)), data.units)
    trainee.step(*pair, 0, data.n_rows)  # compiles
    return fastest(lambda: trainee.step(*pair, size, data.n_rows)) / size


def fastest(call: object, times: int = 3) -> float:
    """The least time that a call takes, in seconds."""
    assert callable(call)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)
