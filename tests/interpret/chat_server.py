"""An OpenAI-compatible server on this machine, with planned faults, that counts what it is asked and would bill."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from monoscope.app.ui.server import free_socket


@dataclass
class Reply:
    """What the server does with a request: an answer of ``text`` unless something else is said.

    ``cut`` ends the connection after so many bytes; ``delay`` seconds pass first; ``drip`` seconds pass between bytes.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    choices: int = 1
    finish: str = "stop"
    cut: int | None = None
    delay: float = 0.0
    drip: float = 0.0
    usage: bool = True
    tokens: tuple[int, int] | None = None


Script = Callable[[int, dict[str, Any]], Reply]


def words(body: dict[str, Any]) -> int:
    return sum(len(m["content"].split()) for m in body["messages"])


class Chat:
    """The application. ``asked`` are the bodies in the order of coming; ``billed`` what their answers cost."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.billed = [0, 0]
        self.told = [0, 0]  # of this, what the client was told
        self.under_way = self.most_under_way = 0
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http" and scope["path"] == "/v1/chat/completions" and scope["method"] == "POST"
        data, more = b"", True
        while more:
            message = await receive()
            data += message.get("body", b"")
            more = message.get("more_body", False)
        body = json.loads(data)
        number = len(self.asked)
        self.asked.append(body)
        self.times.append(time.monotonic())
        self.headers.append(dict(scope["headers"]))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._reply(await asyncio.to_thread(self.script, number, body), body, send)
        finally:
            self.under_way -= 1

    async def _reply(self, reply: Reply, body: dict[str, Any], send: Any) -> None:
        out = reply.body if reply.body is not None else self._answer(reply, body)
        if reply.status == 200 and reply.body is None:
            cost = reply.tokens or (words(body), len(reply.text.split()))
            self.billed = [b + c for b, c in zip(self.billed, cost, strict=True)]
            if reply.usage and reply.cut is None and reply.delay == 0 and reply.drip == 0:
                self.told = [t + c for t, c in zip(self.told, cost, strict=True)]
        await asyncio.sleep(reply.delay)
        headers = [(b"content-length", str(len(out)).encode())]
        headers += [(k.encode(), v.encode()) for k, v in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if reply.cut is not None:
            await send({"type": "http.response.body", "body": out[: reply.cut], "more_body": True})
            raise ConnectionError("cut on purpose")
        if reply.drip:
            for byte in out:
                await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
                await asyncio.sleep(reply.drip)
            out = b""
        await send({"type": "http.response.body", "body": out})

    def _answer(self, reply: Reply, body: dict[str, Any]) -> bytes:
        cost = reply.tokens or (words(body), len(reply.text.split()))
        choice = {"index": 0, "message": {"role": "assistant", "content": reply.text}, "finish_reason": reply.finish}
        told: dict[str, Any] = {"object": "chat.completion", "choices": [choice] * reply.choices}
        if reply.usage:
            told["usage"] = {"prompt_tokens": cost[0], "completion_tokens": cost[1], "total_tokens": sum(cost)}
        return json.dumps(told).encode()


@contextmanager
def serving(script: Script) -> Iterator[Chat]:
    """A server on a free port for the duration of the block."""
    chat = Chat(script)
    listener = free_socket("127.0.0.1", 0)
    config = uvicorn.Config(chat, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    chat.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        yield chat
    finally:
        server.should_exit = True
        thread.join(5)
        listener.close()


def said(text: str) -> str:
    """An answer as a well-behaved model gives it."""
    return json.dumps({"explanation": text})
