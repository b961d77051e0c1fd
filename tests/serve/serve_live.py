"""Servers on real ports: reference A alone, or with two recipes, rules, a dictionary and words for its features."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import uvicorn
from serve_world import SITE, dictionary, edit, saved, some_rules, watching_of

from monoscope.app.serving import application
from monoscope.app.ui.server import free_socket
from monoscope.intervene.edit import Recipe
from monoscope.models import LanguageModel, load_model
from monoscope.serve.api import Service
from monoscope.serve.codes import Codes
from monoscope.serve.engine import Engine, Limits
from monoscope.serve.minds import FeatureTap
from monoscope.watch.recorder import Recorder

TOKEN = "secret"
TEMPLATE = (
    "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role') }}{% endif %}# {{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}# assistant:{% endif %}"
)


@dataclass
class Live:
    """A server, the engine behind it, and where it is."""

    service: Service
    address: str

    @property
    def engine(self) -> Engine:
        return self.service.engine

    @cached_property
    def client(self) -> Any:
        """One for all tests, closed with the server: clients that are left to be collected leave sockets open."""
        from openai import OpenAI

        return OpenAI(base_url=f"{self.address}/v1", api_key=TOKEN, max_retries=0, timeout=30)

    def idle(self) -> None:
        """Wait until nothing runs or waits."""
        deadline = time.monotonic() + 10
        while self.engine.load != (0, 0):
            assert time.monotonic() < deadline, self.engine.load
            time.sleep(0.005)


@contextmanager
def live(service: Service) -> Iterator[Live]:
    """A service on a port of its own."""
    listener = free_socket("127.0.0.1", 0)
    app = application(service, TOKEN)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    found = Live(service, f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield found
    found.client.close()
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive() and not service.engine.alive


def own_model(template: str | None = None) -> LanguageModel:
    """Reference A, for an engine that owns it, perhaps with a chat template."""
    lm = load_model("reference-a")
    lm.tokeniser.fast.chat_template = template
    return lm


def everything(folder: Path) -> Service:
    """All that a server may have."""
    made = dictionary()
    where = saved(folder / "d", made)
    recipes = {"one": Recipe((edit(where, 3, "clamp", 6.0),)), "two": Recipe((edit(where, 5, "add", 4.0),))}
    lm, rules = own_model(TEMPLATE), some_rules(folder)
    engine = Engine(
        lm,
        recipes=recipes,
        features=FeatureTap(lm, made, SITE),
        watching=watching_of(lm, rules, Recorder(folder / "recorded", seconds=0.0)),
        limits=Limits(64, 256),
    )
    words = [{"label": f"the token `{i}`", "label_f1": None if i % 3 else i / 64} for i in range(64)]
    return Service(engine, "reference-a", words, Codes(lm, made, SITE))


def nothing_but_the_model() -> Service:
    """Four slots, eight places to wait, a hundred new tokens."""
    return Service(Engine(own_model(), limits=Limits(4, 8)), "reference-a", longest=100)
