"""Language models that are asked questions: explainers and scorers speak to them through ``ChatModel``.

Each file is one way to reach such a model: ``reach(model, …)`` gives a ``Sender``, which tries once.
``interpret/asking`` makes a ``ChatModel`` of it, with a cache, an account, retries and concurrency. Nothing is sent
anywhere unless its address was given.
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


class Unanswered(Exception):
    """An attempt that brought no answer.

    Args:
        why: what went wrong; never with a key or an address in it.
        again: whether the same may go better later.
        at_once: the sender has changed how it asks, so that the next attempt is no retry and need not wait.
        final: nothing else that is sent will fare better, as with a wrong key.
        wait: seconds that the server asked everyone to wait; None where it did not.
        sent: whether the model was reached.
        cost: (prompt tokens, answer tokens) that were counted for it; None where only the model knows.
    """

    def __init__(
        self,
        why: str,
        *,
        again: bool = False,
        at_once: bool = False,
        final: bool = False,
        wait: float | None = None,
        sent: bool = True,
        cost: tuple[int, int] | None = (0, 0),
    ) -> None:
        super().__init__(why)
        self.why, self.again, self.at_once, self.final = why, again, at_once, final
        self.wait, self.sent, self.cost = wait, sent, cost


class Sender(Protocol):
    """One way to reach a model; it tries once, and is called from ``workers`` threads at a time."""

    @property
    def name(self) -> str:
        """What the model is, without an address or a key."""

    @property
    def at_once(self) -> int:
        """How many prompts one call takes at most."""

    @property
    def workers(self) -> int:
        """How many calls may be under way at a time."""

    def tokens(self, prompt: Prompt) -> int:
        """About how many tokens the prompt has."""

    def most(self, prompt: Prompt) -> int:
        """More tokens than the prompt can have."""

    def send(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Ask, once.

        Raises:
            Unanswered: there is no answer.
        """

    def close(self) -> None:
        """Let go of connections."""
