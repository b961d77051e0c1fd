"""Answers as OpenAI's clients expect them: whole ones, and the chunks of a stream.

What Monoscope adds is under ``monoscope`` in a choice, and only where it was asked for or something is watched.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol

from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.serve.wanted import LogProb, Mind, Piece, Said

LOWEST = -9999.0  # what stands for a log-probability of minus infinity, which JSON lacks


class Lexicon(Protocol):
    """What is known of a dictionary's features in words."""

    def __getitem__(self, feature: int) -> dict[str, Any]:
        """``{"label", "label_f1"}`` of a feature."""


class Telling:
    """How tokens and what was read off them are written."""

    def __init__(self, vocabulary: Vocabulary, lexicon: Lexicon | None) -> None:
        """``lexicon`` gives features their labels."""
        self._vocabulary, self._lexicon = vocabulary, lexicon

    def bytes(self, token: int) -> bytes:
        """What the token stands for in a text."""
        return self._vocabulary.spelling(token) or b""

    def name(self, token: int) -> str:
        """The token as text; one that is no whole character as ``bytes:\\x…``, as OpenAI writes it."""
        spelled = self.bytes(token)
        try:
            return spelled.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{b:02x}" for b in spelled)

    def minds(self, said: Sequence[Said], prompt: Sequence[Said]) -> dict[str, Any]:
        """The extra field of a choice, if there is anything to tell."""
        told = {name: read for name, those in (("tokens", said), ("prompt", prompt)) if (read := self._read(those))}
        return {"monoscope": told} if told else {}

    def _read(self, said: Sequence[Said]) -> list[dict[str, Any]]:
        return [{"token": s.token, "text": s.text, **self._mind(s.mind)} for s in said if s.mind is not None]

    def _mind(self, mind: Mind) -> dict[str, Any]:
        features = [{"id": f, "value": round(value, 5), **self._words(f)} for f, value in mind.features]
        told = {"features": features, "signals": dict(mind.signals), "events": [dict(e) for e in mind.events]}
        return {**{name: held for name, held in told.items() if held}, "active": list(mind.active)}

    def _words(self, feature: int) -> dict[str, Any]:
        return self._lexicon[feature] if self._lexicon is not None else {}


class Shape(Protocol):
    """One of the two protocols."""

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Choices of chunks that come before any text."""

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        """A choice of a chunk."""

    def whole(self, index: int, said: Sequence[Said], prompt: Sequence[Said], finish: str) -> dict[str, Any]:
        """A choice of an answer that is not streamed."""


class Completions:
    """``/v1/completions``."""

    prefix, object, chunk_object = "cmpl", "text_completion", "text_completion"

    def __init__(self, telling: Telling, logprobs: bool) -> None:
        """``logprobs``: whether they are told."""
        self._telling, self._logprobs, self._offsets = telling, logprobs, dict[int, int]()

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Nothing."""
        return []

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        """A choice of a chunk."""
        return self._choice(index, piece.said, piece.prompt, piece.finish)

    def whole(self, index: int, said: Sequence[Said], prompt: Sequence[Said], finish: str) -> dict[str, Any]:
        """A choice of an answer."""
        return self._choice(index, said, prompt, finish)

    def _choice(self, index: int, said: Sequence[Said], prompt: Sequence[Said], finish: str | None) -> dict[str, Any]:
        told = {
            "index": index,
            "text": "".join(s.text for s in said),
            "logprobs": self._listed(index, said) if self._logprobs else None,
            "finish_reason": finish,
        }
        return {**told, **self._telling.minds(said, prompt)}

    def _listed(self, index: int, said: Sequence[Said]) -> dict[str, Any]:
        offsets, at = [], self._offsets.get(index, 0)
        for one in said:
            offsets.append(at)
            at += len(one.text)
        self._offsets[index] = at
        logs = [s.logprob or LogProb(LOWEST) for s in said]
        name = self._telling.name
        return {
            "tokens": [name(s.token) for s in said],
            "token_logprobs": [_finite(p.value) for p in logs],
            "top_logprobs": [{name(t): _finite(v) for t, v in p.top} for p in logs],
            "text_offset": offsets,
        }


class Chat:
    """``/v1/chat/completions``."""

    prefix, object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, telling: Telling, logprobs: bool) -> None:
        """``logprobs``: whether they are told."""
        self._telling, self._logprobs = telling, logprobs

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Who speaks."""
        delta = {"role": "assistant", "content": ""}
        return [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]

    def chunk(self, index: int, piece: Piece) -> dict[str, Any]:
        """A choice of a chunk."""
        delta = {"content": piece.text} if piece.said else {}
        return self._choice(index, {"delta": delta}, piece.said, piece.prompt, piece.finish)

    def whole(self, index: int, said: Sequence[Said], prompt: Sequence[Said], finish: str) -> dict[str, Any]:
        """A choice of an answer."""
        message = {"role": "assistant", "content": "".join(s.text for s in said), "refusal": None}
        return self._choice(index, {"message": message}, said, prompt, finish)

    def _choice(
        self, index: int, text: dict[str, Any], said: Sequence[Said], prompt: Sequence[Said], finish: str | None
    ) -> dict[str, Any]:
        listed = {"content": [self._listed(s) for s in said], "refusal": None} if self._logprobs and said else None
        told = {"index": index, **text, "logprobs": listed, "finish_reason": finish}
        return {**told, **self._telling.minds(said, prompt)}

    def _listed(self, said: Said) -> dict[str, Any]:
        logprob = said.logprob or LogProb(LOWEST)
        top = [self._entry(token, value) for token, value in logprob.top]
        return {**self._entry(said.token, logprob.value), "top_logprobs": top}

    def _entry(self, token: int, value: float) -> dict[str, Any]:
        return {
            "token": self._telling.name(token),
            "logprob": _finite(value),
            "bytes": list(self._telling.bytes(token)),
        }


class Head:
    """What is the same in all chunks of an answer."""

    def __init__(self, shape: Completions | Chat, model: str) -> None:
        """A new answer of a model."""
        self._shape = shape
        self.id = f"{shape.prefix}-{secrets.token_hex(12)}"
        self._same = {"id": self.id, "created": int(time.time()), "model": model}

    def chunk(self, choices: Sequence[dict[str, Any]], usage: dict[str, int] | None, asked: bool) -> dict[str, Any]:
        """A chunk of a stream; ``asked`` says whether usage is told at all."""
        counted = {"usage": usage} if asked else {}
        return {**self._same, "object": self._shape.chunk_object, "choices": list(choices), **counted}

    def whole(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """An answer that is not streamed."""
        return {**self._same, "object": self._shape.object, "choices": list(choices), "usage": usage}


def usage(prompt: int, completion: int) -> dict[str, int]:
    """The counts of tokens."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _finite(value: float) -> float:
    return max(value, LOWEST)
