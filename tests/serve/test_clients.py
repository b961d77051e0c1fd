"""Many clients at once, and bad ones: nothing is lost or mixed, nobody's slot is kept, the server stays well."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from serve_live import TOKEN, Live
from serve_world import agree, generated, reference

from monoscope.app.serving import LONGEST_BODY
from monoscope.app.ui.guard import Guard
from monoscope.serve import errors
from monoscope.serve.stream import EventStream
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay

openai = pytest.importorskip("openai")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result; in a thread of its own, because a browser's tests leave an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def request(body: bytes, *headers: str, path: str = "/v1/completions", length: int | None = None) -> bytes:
    given = [
        f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", "Content-Type: application/json",
        *([] if length is not None and length < 0 else [f"Content-Length: {len(body) if length is None else length}"]),
        *headers,
    ]  # fmt: skip
    return "\r\n".join(given).encode() + b"\r\n\r\n" + body


def connected(live: Live) -> socket.socket:
    parts = urlsplit(live.address)
    made = socket.create_connection((parts.hostname, parts.port), timeout=10)
    return made


def asked(**more: Any) -> bytes:
    return json.dumps({"model": "reference-a", "prompt": "def f(", "max_tokens": 200, "seed": 1, **more}).encode()


def status(live: Live, sent: bytes) -> int:
    with connected(live) as line:
        line.sendall(sent)
        found = line.recv(4096)
    return int(found.split()[1])


def well(live: Live) -> None:
    """Nothing runs, and a plain question is answered, again asked if those who left just before still wait."""
    live.idle()
    patient = live.client.with_options(max_retries=4)
    found = patient.completions.create(model="reference-a", prompt="import ", max_tokens=3, temperature=0)
    new, _ = generated(reference(), [*reference().tokeniser.prefix, *reference().tokeniser.text("import ").tokens], 3)
    assert found.choices[0].text == reference().tokeniser.backend.decode(new)


def test_64_streams_at_once_lose_and_mix_nothing_and_their_alarms_are_those_of_the_recording(served: Live) -> None:
    numbers = random.Random(1)
    words = ["import os\n", "def area(", "class Shape:\n", "for i in ", "return ", "é🦉 = '", "\n\n", "x"]
    prompts = [numbers.choice(words) + str(i) for i in range(64)]
    most = [numbers.randint(5, 40) for _ in prompts]

    async def one(client: Any, i: int) -> tuple[str, str, list[Any]]:
        name, text, read = "", "", list[Any]()
        stream = await client.completions.create(
            model="reference-a", prompt=prompts[i], max_tokens=most[i], temperature=0, stream=True
        )
        async for chunk in stream:
            (choice,) = chunk.choices
            name, text, extra = chunk.id, text + choice.text, choice.monoscope
            read += [(False, t) for t in extra.get("prompt", [])] + [(True, t) for t in extra.get("tokens", [])]
        return name, text, read

    async def all_of_them() -> list[tuple[str, str, list[Any]]]:
        async with openai.AsyncOpenAI(base_url=f"{served.address}/v1", api_key=TOKEN, max_retries=0) as client:
            return await asyncio.gather(*(one(client, i) for i in range(64)))

    lm, alarms = reference(), 0
    found = run(all_of_them())
    well(served)  # so that all is recorded
    assert served.engine.watching is not None and served.engine.watching.recorder is not None
    replayed = replay(Recording(served.engine.watching.recorder.path), served.engine.watching.rules)
    for i, (name, text, read) in enumerate(found):
        tokens = [t["token"] for new, t in read if new]
        framed = [*lm.tokeniser.prefix, *lm.tokeniser.text(prompts[i]).tokens.tolist()]
        new, logits = generated(lm, framed, most[i])
        assert agree(tokens, new, logits), prompts[i]
        assert text == lm.tokeniser.backend.decode([*framed, *tokens])[len(prompts[i]) :]
        told = [event for _, t in read for event in t.get("events", [])]
        assert told == [vars(e) for number, e in replayed.events if replayed.names[number] == f"{name}/0"]
        alarms += len(told)
    assert alarms > 100


@pytest.mark.parametrize("stream", [True, False])
def test_the_slots_of_clients_that_vanish_are_free_again(plain: Live, stream: bool) -> None:
    for _ in range(3):
        with connected(plain) as line:
            line.sendall(request(asked(prompt=[0], n=4, max_tokens=100, stream=stream)))
            if stream:
                assert b"200 OK" in line.recv(100)
            else:
                deadline = time.monotonic() + 5
                while plain.engine.load[0] < 4:
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
        began = time.monotonic()
        plain.idle()
        assert time.monotonic() - began < 2
    well(plain)


def test_clients_that_vanish_while_they_wait_are_forgotten(plain: Live) -> None:
    lines = [connected(plain) for _ in range(6)]
    for line in lines:
        line.sendall(request(asked(n=2, max_tokens=100, stream=True)))
    for line in lines:
        line.close()
    well(plain)


def test_a_client_that_does_not_read_holds_nobody_up(served: Live) -> None:
    with connected(served) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(request(asked(n=24, max_tokens=60, stream=True, features=64)))
        line.recv(10)
        well(served)  # its answer is written, and waits to be read
    well(served)


@pytest.mark.parametrize("gone", [False, True])
def test_a_stream_is_closed_when_its_client_reads_nothing_or_is_gone_before_it_begins(gone: bool) -> None:
    closed = []

    async def events() -> AsyncIterator[bytes]:
        while True:
            yield b"data: x\n\n"

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" or gone:
            await asyncio.sleep(60)

    async def receive() -> Any:
        if not gone:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    stream = EventStream(events(), lambda: closed.append(True), patience=30 if gone else 0.02)
    began = time.monotonic()
    run(stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send))
    assert closed == [True] and time.monotonic() - began < 5


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def receive() -> Any:
        if not sent:
            sent.append(None)
            return {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")], "query_string": b""}
    run(Guard(application, patience=0.02, refuse=errors.refusal)(scope, receive, send))
    assert sent[1]["status"] == 408 and b"does not come" in sent[2]["body"]


def test_garbage_and_huge_bodies_are_refused(plain: Live) -> None:
    numbers = random.Random(0)
    for sent, wanted in (
        (request(b"not json"), 400),
        (request(b"\xff\xfe\x00"), 400),
        (request(b""), 400),
        (request(b"[" * 5000 + b"]" * 5000), 400),
        (request(b'{"model": ' * 900), 400),
        (request(asked().replace(b"def", b"\\ud800")), 400),
        (request(asked().replace(b"reference-a", b"\\ud800")), 400),
        (request(asked(stop="?").replace(b"?", b"\\ud800")), 400),
        (request(b'{"model": "reference-a", "prompt": "x", "temperature": NaN}'), 400),
        (request(b'{"model": "reference-a", "prompt": "x", "max_tokens": 1e400}'), 400),
        (request(b'{"model": "reference-a", "prompt": "x", "seed": 1' + b"0" * 400 + b"}"), 400),
        (request(asked(), length=LONGEST_BODY + 1), 413),
        (request(asked(), length=10**18), 413),
        (request(b"x" * 100 + b"\r\n", "Transfer-Encoding: chunked", length=-1), 400),
        (request(asked(), path="/v1/../../etc/passwd"), 404),
        (request(asked(), path="/v1/nothing"), 404),
        (request(asked()).replace(b"127.0.0.1", b"evil.example"), 403),
        (request(asked()).replace(b"Authorization", b"X-Other"), 401),
        (request(asked(), "Origin: http://evil.example"), 403),
        (bytes(numbers.randrange(256) for _ in range(2000)) + b"\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 403),
    ):
        assert status(plain, sent) == wanted, sent[:300]
    with connected(plain) as line:  # chunks without end
        line.sendall(request(b"", "Transfer-Encoding: chunked", length=-1))
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            for _ in range(LONGEST_BODY // 65536 + 2):
                line.sendall(piece)
            found = line.recv(4096)
        except ConnectionError:
            found = b"HTTP/1.1 413"
        assert b"413" in found[:20]
    with connected(plain) as line:  # half a request
        line.sendall(request(asked())[:60])
    well(plain)
