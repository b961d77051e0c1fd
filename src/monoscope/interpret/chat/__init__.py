"""Language models that are asked questions: explainers and scorers speak to them through ``ChatModel``.

Each file is one way to reach such a model. Nothing is sent anywhere unless its address was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PACKAGE = "monoscope.interpret.chat"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``role`` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """What a model is asked.

    Args:
        messages: the conversation; the last turn is the user's.
        max_tokens: the longest answer.
        schema: a JSON schema that the answer should follow; a model that cannot be held to one answers in plain text.
        temperature: 0 for the most likely answer.
        seed: the same prompt with another seed may be answered otherwise.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 256
    schema: Mapping[str, Any] | None = None
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What a model said, or why it said nothing.

    ``failure`` is "" for an answer; else why there is none, after every retry. ``truncated``: ``max_tokens`` ended it.
    Tokens are those that were counted by whoever answered; a failure that was never answered costs none.
    """

    text: str
    prompt_tokens: int = 0
    answer_tokens: int = 0
    truncated: bool = False
    failure: str = ""


class ChatModel(Protocol):
    """A model that answers prompts."""

    @property
    def name(self) -> str:
        """What the model is, for records: its identity as far as it is known, without an address or a key."""

    def tokens(self, prompt: Prompt) -> int:
        """About how many tokens the prompt has; for estimates before anything is sent."""

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """An answer to every prompt, in order; one that fails is an ``Answer`` with a ``failure``, no exception."""
