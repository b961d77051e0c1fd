"""What a request wants of the engine, and what it is told, token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "length", "content_filter", "error"]


@dataclass(frozen=True)
class Wanted:
    """A prompt and how it is to be gone on with.

    Args:
        tokens: the prompt, with what frames it.
        most: new tokens at most.
        choices: how many continuations.
        temperature: 0 takes the likeliest token each time.
        top_p: only the likeliest tokens that together have this probability are drawn from.
        seed: of the drawing; choice i draws from a generator of its own, made of the seed and i.
        stop: texts that end a continuation; they are not part of it.
        top: so many likeliest tokens beside each token's log-probability; None for no log-probabilities at all.
        recipe: the name of the recipe that steers, if any.
        features: so many of the strongest features are told of each token.
        of_prompt: whether the prompt's tokens are told of too.
        name: what logs and recordings call it.
    """

    tokens: tuple[int, ...]
    most: int
    choices: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    top: int | None = None
    recipe: str | None = None
    features: int = 0
    of_prompt: bool = False
    name: str = ""


@dataclass(frozen=True)
class LogProb:
    """A token's log-probability under the (steered) model at temperature 1, and the likeliest tokens with theirs."""

    value: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Mind:
    """What was read off one token: features with their values, signals by name, and what the rules say.

    ``events`` are what changed here, as ``{"rule", "place", "kind", "value"}``; ``active`` are the rules now raised.
    """

    features: tuple[tuple[int, float], ...] = ()
    signals: Mapping[str, float] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    active: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """A token. ``text`` is what it adds: a character that several tokens share belongs to the last of them."""

    token: int
    text: str
    logprob: LogProb | None = None
    mind: Mind | None = None


@dataclass(frozen=True)
class Piece:
    """Some tokens of a choice, as soon as their text is certain; the last piece of a choice says why it ends.

    ``prompt`` comes with a choice's first piece: what was read off the prompt, one entry a token where that was asked
    for, else at most one entry with all its events.
    """

    choice: int
    said: tuple[Said, ...] = ()
    finish: Finish | None = None
    prompt: tuple[Said, ...] = ()
    problem: str = ""

    @property
    def text(self) -> str:
        """The text that the piece adds."""
        return "".join(one.text for one in self.said)
