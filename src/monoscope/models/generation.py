"""What a model writes next, a token at a time, with the activations that it had on each token as it wrote.

Every step runs the model over the whole window again: no cache is kept, so any site can be read and what is read is
what ``LanguageModel.run`` gives for that window. That suits small models and short continuations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.models.language_model import LanguageModel
from monoscope.types import Site, TokenBlock


@dataclass(frozen=True)
class Written:
    """A token that the model wrote, and what it had in mind there: ``(d_site,)`` by ``str(site)``."""

    token: int
    values: dict[str, Float[Tensor, " d_site"]]


def generate(
    lm: LanguageModel,
    tokens: Sequence[int],
    count: int,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    read: Sequence[Site | str] = (),
) -> Iterator[Written]:
    """Continue some text.

    Args:
        lm: a model that predicts the next token.
        tokens: the text so far, without what frames a window; where it is longer than a window, its end is used.
        count: how many tokens at most; it ends earlier where the model ends the text.
        temperature: 0 takes the likeliest token each time; above it, they are drawn from
            ``softmax(logits / temperature)``.
        seed: of the drawing; the same seed gives the same tokens.
        read: sites to read on the tokens written.

    Returns:
        An iterator that runs the model as it is asked for the next token.

    Raises:
        MonoscopeError: the model predicts no next token, there is nothing to continue, or an argument is none.
    """
    if not (lm.has_head and lm.model.can_generate()):
        raise MonoscopeError(
            f"{lm.name} does not predict the next token, so it cannot continue a text",
            fix="use a causal language model with its head",
        )
    held = _numbers(tokens)
    if not held and not lm.tokeniser.prefix:
        raise MonoscopeError("there is no text to continue", fix="give at least one token")
    if not (isinstance(temperature, Real) and 0 <= temperature < math.inf):
        raise MonoscopeError(f"a temperature of {temperature!r}", fix="give a number, from 0")
    for name, number in (("count", count), ("seed", seed)):
        if not (isinstance(number, Integral) and 0 <= number < 2**63):
            raise MonoscopeError(f"{name} is {number!r}", fix="give a whole number, from 0")
    return _steps(lm, held, count, temperature, torch.Generator().manual_seed(seed), [str(s) for s in read])


def _numbers(tokens: Iterable[Any]) -> list[int]:
    """Tokens of a list, an array or a tensor."""
    try:
        return [operator.index(token) for token in tokens]
    except TypeError as error:
        raise MonoscopeError(
            "the text so far is no list of tokens", fix="give their numbers: lm.tokeniser.text(…).tokens of a text"
        ) from error


def _steps(
    lm: LanguageModel, held: list[int], count: int, temperature: float, generator: torch.Generator, read: list[str]
) -> Iterator[Written]:
    prefix, end = lm.tokeniser.prefix, lm.tokeniser.fast.eos_token_id
    for step in range(count + 1):
        window = torch.tensor([[*prefix, *held[-(lm.context - len(prefix)) :]]])
        block = TokenBlock(window, torch.zeros_like(window), torch.arange(window.shape[1])[None])
        wanted = [*read, "logits"] if step < count else read
        with torch.inference_mode():
            found = lm.run(block, read=wanted)
        if step:
            yield Written(held[-1], {site: found[site][0, -1] for site in read})
        if step < count:
            token = _choose(found["logits"][0, -1].float().cpu(), temperature, generator)
            if token == end:
                return
            held.append(token)


def _choose(logits: Float[Tensor, " vocabulary"], temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits / temperature, 0), 1, generator=generator))
