"""The routes: OpenAI's completions, chat, embeddings and models over one engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.errors import MonoscopeError
from monoscope.serve import documented, errors
from monoscope.serve.answers import Chat, Completions, Head, Lexicon, Telling, usage
from monoscope.serve.asked import MOST_PROMPTS, ChatRequest, CompletionRequest, EmbeddingRequest, Shared, listed
from monoscope.serve.codes import Codes, written
from monoscope.serve.engine import Engine
from monoscope.serve.errors import Refused
from monoscope.serve.prompts import Prompts
from monoscope.serve.stream import END, EventStream, encoded, event
from monoscope.serve.tasks import Answer, Bridge, unless_gone
from monoscope.serve.wanted import Said, Wanted

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Service:
    """An engine under a name; with a dictionary also words for its features, and a way to embed."""

    engine: Engine
    name: str
    lexicon: Lexicon | None = None
    codes: Codes | None = None
    longest: int | None = None  # new tokens that a request may ask for; the context's length by default


class JSON(JSONResponse):
    """An answer."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return encoded(content)


def create_app(service: Service) -> FastAPI:
    """The application. The engine's thread lives as long as the application does."""
    desk = _Desk(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.engine.post = Bridge(asyncio.get_running_loop())
        with_engine = service.engine.__enter__()
        yield
        await asyncio.to_thread(with_engine.__exit__, None, None, None)

    app = FastAPI(title="Monoscope", docs_url=None, redoc_url=None, lifespan=lifespan, default_response_class=JSON)
    _add_errors(app)
    _add_generation(app, desk)
    _add_embeddings(app, desk)
    _add_models(app, service)
    return app


class _Desk:
    """Turns requests into wants, and what the engine tells into answers."""

    def __init__(self, service: Service) -> None:
        self.service, self.prompts = service, Prompts(service.engine.lm)
        self._telling = Telling(Vocabulary(service.engine.lm.tokeniser), service.lexicon)

    def named(self, model: str) -> None:
        """Refuse the name of any other model."""
        if model != self.service.name:
            raise Refused(
                f"the model {model!r} is not served here; {self.service.name!r} is",
                status=404, param="model", code="model_not_found",
            )  # fmt: skip

    def wanted(self, asked: Shared, tokens: tuple[int, ...], most: int | None, top: int | None) -> Wanted:
        """What a request wants of the engine for one prompt."""
        room = self.service.engine.lm.context - len(tokens)
        longest = min(room, self.service.longest or room)
        if self.service.longest is not None and most is not None and most > self.service.longest:
            raise Refused(f"at most {self.service.longest} new tokens may be asked for", param="max_tokens")
        wanted = Wanted(tokens, max(longest, 1) if most is None else most, top=top, **asked.drawing())
        try:
            self.service.engine.check(wanted)
        except MonoscopeError as error:
            raise Refused.because(error, "steer" if "recipe" in error.what else None) from error
        if wanted.features and self.service.lexicon is None:
            raise Refused("no dictionary was given to this server, so it knows no features", param="features")
        return wanted

    async def answer(self, request: Request, asked: Shared, wanted: Sequence[Wanted], chat: bool) -> Response:
        """Answer at once, or as it comes."""
        shape = (Chat if chat else Completions)(self._telling, wanted[0].top is not None)
        head = Head(shape, self.service.name)
        answer = Answer(self.service.engine, [replace(w, name=head.id) for w in wanted])
        if asked.stream:
            return EventStream(_stream(answer, shape, head, asked.wants_usage), answer.close)
        try:
            whole = await unless_gone(request.receive, _whole(answer, shape, head))
        finally:
            answer.close()
        return Response(status_code=499) if whole is None else JSON(whole)


async def _whole(answer: Answer, shape: Chat | Completions, head: Head) -> dict[str, Any]:
    said: list[list[Said]] = [[] for _ in range(answer.choices)]
    prompts: list[Sequence[Said]] = [()] * answer.choices
    ends = [""] * answer.choices
    async for piece in answer:
        said[piece.choice] += piece.said
        prompts[piece.choice] = prompts[piece.choice] or piece.prompt
        ends[piece.choice] = piece.finish or ""
    choices = [shape.whole(i, said[i], prompts[i], ends[i]) for i in range(answer.choices)]
    return head.whole(choices, usage(answer.prompt_tokens, answer.completion_tokens))


async def _stream(answer: Answer, shape: Chat | Completions, head: Head, counted: bool) -> AsyncIterator[bytes]:
    try:
        for i in range(answer.choices):
            for opening in shape.opening(i):
                yield event(head.chunk([opening], None, counted))
        async for piece in answer:
            yield event(head.chunk([shape.chunk(piece.choice, piece)], None, counted))
        if counted:
            yield event(head.chunk([], usage(answer.prompt_tokens, answer.completion_tokens), counted))
        yield END
    except Refused as error:
        yield event(errors.told(error.message, error.status, code=error.code))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return errors.response(error)

    @app.exception_handler(MonoscopeError)
    async def user_error(request: Request, error: MonoscopeError) -> JSONResponse:
        return errors.response(Refused.because(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"][1:]]
        message = f"{'.'.join(place) or 'the request'}: {str(first['msg']).lower()}"
        return errors.response(Refused(message, param=place[0] if place else None))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return errors.response(Refused(str(error.detail).lower(), status=error.status_code))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return errors.response(Refused("the server failed; its log says why", status=500))


def _add_generation(app: FastAPI, desk: _Desk) -> None:
    @app.post("/v1/completions", responses=documented.answers(documented.Completion, streamed=True))
    async def completions(request: Request, asked: CompletionRequest) -> Response:
        """Go on with a text, or several."""
        desk.named(asked.model)
        prompts = listed(asked.prompt)
        if len(prompts) > MOST_PROMPTS:
            raise Refused(f"at most {MOST_PROMPTS} prompts", param="prompt")
        tokens = await asyncio.to_thread(lambda: [desk.prompts.text(p) for p in prompts])
        wanted = [
            desk.wanted(asked, t, 16 if asked.max_tokens is None else asked.max_tokens, asked.logprobs) for t in tokens
        ]
        return await desk.answer(request, asked, wanted, chat=False)

    @app.post("/v1/chat/completions", responses=documented.answers(documented.ChatCompletion, streamed=True))
    async def chat(request: Request, asked: ChatRequest) -> Response:
        """Answer in a conversation."""
        desk.named(asked.model)
        tokens = await asyncio.to_thread(desk.prompts.chat, [m.turn() for m in asked.messages])
        if asked.top_logprobs and not asked.logprobs:
            raise Refused("top_logprobs needs logprobs: true", param="top_logprobs")
        wanted = desk.wanted(asked, tokens, asked.most, (asked.top_logprobs or 0) if asked.logprobs else None)
        return await desk.answer(request, asked, [wanted], chat=True)


def _add_embeddings(app: FastAPI, desk: _Desk) -> None:
    codes, engine = desk.service.codes, desk.service.engine

    def tokens_of(text: str | list[int]) -> list[int]:
        tokens = desk.prompts.plain(text) if isinstance(text, str) else list(text)
        framing = len(engine.lm.tokeniser.prefix) + len(engine.lm.tokeniser.suffix)
        if not tokens:
            raise Refused("an input is empty", param="input")
        engine.check(Wanted(tuple(tokens), 0 if codes is None else framing))
        return tokens

    @app.post("/v1/embeddings", responses=documented.answers(documented.Embeddings))
    async def embeddings(request: Request, asked: EmbeddingRequest) -> Response:
        """The codes of texts: how strongly each feature is active in them."""
        desk.named(asked.model)
        if codes is None:
            raise Refused("no dictionary was given to this server, so it embeds nothing", param="model")
        texts = await asyncio.to_thread(lambda: [tokens_of(t) for t in listed(asked.input)])
        found: dict[int, Any] = {}
        for group in codes.groups(texts):
            errand = partial(codes.pooled, [texts[i] for i in group], asked.pool or "mean")
            read = engine.between_passes(errand)
            pooled = await unless_gone(request.receive, asyncio.wrap_future(read))
            if pooled is None:
                return Response(status_code=499)
            found.update(zip(group, pooled, strict=True))
        count, encoding = sum(map(len, texts)), asked.encoding_format or "float"
        told = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": i, "embedding": written(found[i], encoding)} for i in range(len(texts))
            ],
            "model": desk.service.name,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        return await asyncio.to_thread(JSON, told)  # a million numbers take a while to write


def _add_models(app: FastAPI, service: Service) -> None:
    engine, since = service.engine, int(time.time())
    served = {
        "context": engine.lm.context,
        "chat": Prompts(engine.lm).chats,
        "recipes": sorted(engine.recipes),
        "rules": [] if engine.watching is None else [rule.name for rule in engine.watching.rules.rules],
        "features": 0 if service.codes is None else service.codes.n_features,
    }
    model: Mapping[str, Any] = {
        "id": service.name, "object": "model", "created": since, "owned_by": "monoscope", "monoscope": served,
    }  # fmt: skip

    @app.get("/v1/models", responses=documented.answers(documented.Models))
    async def models() -> Response:
        """The model that is served."""
        return JSON({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}", responses=documented.answers(documented.Model))
    async def one(name: str) -> Response:
        """The model of a name."""
        if name != service.name:
            raise Refused(f"the model {name!r} is not served here", status=404, param="model", code="model_not_found")
        return JSON(model)

    @app.get("/metrics", responses=documented.metrics())
    async def metrics() -> Response:
        """Counters of the watch, as Prometheus reads them."""
        if engine.watching is None:
            raise Refused("nothing is watched here; start the server with --watch", status=404)
        return PlainTextResponse(engine.watching.acting.metrics.text(), media_type=PROMETHEUS)

    @app.get("/health", responses=documented.answers(documented.Health))
    async def health() -> Response:
        """Whether the engine lives, and how many sequences it has."""
        if not engine.alive:
            raise Refused("the engine has stopped", status=503)
        running, waiting = engine.load
        return JSON({"status": "ok", "running": running, "waiting": waiting})
