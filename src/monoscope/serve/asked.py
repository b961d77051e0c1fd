"""Requests as OpenAI defines them, and what they mean to the engine.

A field that this server does not know is refused, so that a slip of the pen is told; one that it knows but cannot
honour is refused unless its value asks for nothing.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def whole(text: str) -> str:
    """The text, if it is Unicode: JSON can spell half a character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text is no unicode at character {error.start}") from error
    return text


Id = Annotated[int, Field(ge=0, lt=2**31)]
Text = Annotated[str, AfterValidator(whole)]
Zero = Annotated[float, Field(ge=0, le=0)]
Ids = Annotated[list[Id], Field(min_length=1)]
Texts = Text | Annotated[list[Text], Field(min_length=1)] | Ids | Annotated[list[Ids], Field(min_length=1)]
Stop = Annotated[Text, Field(min_length=1, max_length=256)]
MOST_CHOICES, MOST_PROMPTS, MOST_FEATURES = 128, 256, 64


class StreamOptions(BaseModel):
    """What a stream tells besides the text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool | None = False
    include_obfuscation: bool | None = False  # a padding against eavesdroppers, which loopback has none of


class Shared(BaseModel):
    """What completions and chat have in common. ``steer``, ``features`` and ``features_of_prompt`` are Monoscope's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Text
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 1.0
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = 1
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None

    steer: (
        Annotated[Text, Field(max_length=200, description="The name of a recipe that the server was started with.")]
        | None
    ) = None
    features: (
        Annotated[int, Field(ge=0, le=MOST_FEATURES, description="So many strongest features of each token.")] | None
    ) = 0
    features_of_prompt: Annotated[bool, Field(description="Tell those of the prompt's tokens too.")] | None = False

    # known, and ignored because they change nothing that is answered
    user: Annotated[str, Field(max_length=1000)] | None = None
    metadata: dict[str, Any] | None = None
    # known, and honoured only where they ask for nothing
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the counts."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def drawing(self) -> dict[str, Any]:
        """The engine's words for how tokens are chosen."""
        return {
            "choices": self.n or 1,
            "temperature": 1.0 if self.temperature is None else float(self.temperature),
            "top_p": 1.0 if self.top_p is None else float(self.top_p),
            "seed": secrets.randbits(63) if self.seed is None else self.seed,
            "stop": self.stops,
            "recipe": self.steer,
            "features": self.features or 0,
            "of_prompt": bool(self.features_of_prompt),
        }


class CompletionRequest(Shared):
    """``POST /v1/completions``."""

    prompt: Texts
    max_tokens: Annotated[int, Field(ge=1)] | None = 16
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    suffix: Literal[""] | None = None


class Part(BaseModel):
    """A part of a message: text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[Part]
    name: Text | None = None

    def turn(self) -> dict[str, str]:
        """As chat templates take it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class Format(BaseModel):
    """The form of an answer: text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]


class ChatRequest(Shared):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Format | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    store: Literal[False] | None = None

    @property
    def most(self) -> int | None:
        """New tokens at most, where that was said."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


class EmbeddingRequest(BaseModel):
    """``POST /v1/embeddings``: the mean code of each text, or with ``pool`` its largest values."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Text
    input: Texts
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: None = None
    user: Annotated[str, Field(max_length=1000)] | None = None
    pool: Annotated[Literal["mean", "max"], Field(description="Over a text's tokens.")] | None = "mean"


def listed(given: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """Prompts one by one: texts, or lists of tokens."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [[t for t in given if isinstance(t, int)]]
    return [one for one in given if not isinstance(one, int)]
