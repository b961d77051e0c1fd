"""The shapes of answers, for the OpenAPI document; requests are described by ``asked``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Closed(BaseModel):
    """No other fields than these."""

    model_config = ConfigDict(extra="forbid")


class Fault(Closed):
    """What was wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Closed):
    """Every error."""

    error: Fault


class Usage(Closed):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Feature(Closed):
    """An active feature; its label where a run gives one."""

    id: int
    value: float
    label: str = ""
    label_f1: float | None = None


class Event(Closed):
    """A rule that was raised or cleared at a token; ``place`` counts the sequence's tokens, the prompt's included."""

    rule: str
    place: int
    kind: Literal["raised", "cleared"]
    value: float | None


class Read(Closed):
    """What was read off a token."""

    token: int
    text: str
    features: list[Feature] = []
    signals: dict[str, float] = {}
    events: list[Event] = []
    active: list[str]


class Extra(Closed):
    """What Monoscope adds to a choice."""

    tokens: list[Read] = []
    prompt: list[Read] = []


class LegacyLogprobs(Closed):
    """Log-probabilities of a completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Closed):
    """A continuation."""

    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"] | None
    monoscope: Extra | None = None


class Completion(Closed):
    """The answer of ``/v1/completions``; in a stream, each chunk."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class TopLogprob(Closed):
    """A token that might have been."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token that was chosen."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(Closed):
    """Log-probabilities of an answer."""

    content: list[TokenLogprob]
    refusal: None


class ChatMessage(Closed):
    """What the assistant says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(Closed):
    """An answer."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"]
    monoscope: Extra | None = None


class ChatCompletion(Closed):
    """The answer of ``/v1/chat/completions``."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class Embedding(Closed):
    """A pooled code: a number for each feature, or their bytes in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Closed):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Closed):
    """The answer of ``/v1/embeddings``."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Served(Closed):
    """What this server can do."""

    context: int
    chat: bool
    recipes: list[str]
    rules: list[str]
    features: int = Field(description="How many the dictionary has; 0 without one.")


class Model(Closed):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    monoscope: Served


class Models(Closed):
    """All of them: one."""

    object: Literal["list"]
    data: list[Model]


class Health(Closed):
    """How busy the server is."""

    status: Literal["ok"]
    running: int
    waiting: int


def answers(model: type[BaseModel], streamed: bool = False) -> dict[int | str, dict[str, Any]]:
    """FastAPI's ``responses`` of a route."""
    stream = {"content": {"text/event-stream": {"schema": {"type": "string"}}}} if streamed else {}
    return {200: {"model": model, **stream}, "4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}


def metrics() -> dict[int | str, dict[str, Any]]:
    """FastAPI's ``responses`` of the route that Prometheus reads."""
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}
    return {200: text, "4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}
