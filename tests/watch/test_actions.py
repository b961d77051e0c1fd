"""Actions: what each does, shadow mode, and that a slow or broken network costs decoding nothing."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from watch_world import dictionary, model, saved, tokens

import monoscope as ms
from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.edit import Edit, Recipe
from monoscope.models.sites import sites_of
from monoscope.signals.direction import Direction, Sources
from monoscope.watch import rules as rules_
from monoscope.watch.actions import PACKAGE
from monoscope.watch.metrics import Metrics
from monoscope.watch.rules import Act, Condition, Rule, Rules, Signal


def acting(folder: Path, *acts: Act, above: float = 0.0, **more: Any) -> Rules:
    """A rule that is raised on some tokens."""
    of = Direction(saved(folder / "d", dictionary()), 3)
    return Rules((Signal("x", of),), (Rule("x is high", Condition("x", above, **more), actions=acts),))


def said(rules: Rules | None, given: Any, **options: Any) -> torch.Tensor:
    """What the model goes on with."""
    more = {key: options.pop(key) for key in ("shadow", "audit") if key in options}
    arguments = {"attention_mask": torch.ones_like(given), "do_sample": False, "max_new_tokens": 10, **options}
    if rules is None:
        return model().generate(given, **arguments)
    with ms.watch(model(), rules, **more) as watching:
        return model().generate(given, stopping_criteria=[watching.stopping], **arguments)


def test_every_action_is_offered() -> None:
    assert plugins.names(PACKAGE) == ["alert", "log", "steer", "stop", "tag", "trace"]


def test_an_alarm_is_logged_and_tags_its_sequence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = acting(tmp_path, Act("log"), Act("tag", {"tag": "odd"}), Act("tag"))
    with caplog.at_level(logging.INFO, "monoscope.watch"), ms.watch(model(), made) as watching:
        watching.names = ["request 7"]
        model()(input_ids=tokens(1, 20))
    kinds = [event.kind for event in watching.rows[0].events]
    assert (
        [r.levelname for r in caplog.records if r.name == "monoscope.watch"]
        == ["WARNING" if k == "raised" else "INFO" for k in kinds]
        != []
    )
    assert "x is high raised at token" in caplog.text and "of request 7" in caplog.text
    assert watching.rows[0].tags == {"odd", "x is high"}


def test_a_rule_stops_its_sequence_and_no_other(tmp_path: Path) -> None:
    given, plain = tokens(4, 3), said(None, tokens(4, 3))
    often: dict[str, Any] = {"above": 3.0, "aggregation": "count"}
    with ms.watch(model(), acting(tmp_path, **often)) as watching:
        said(None, given)
        first = [next((e.place for e in row.events), None) for row in watching.rows]
    assert len({place for place in first if place is not None and place >= 3}) > 1, "a test that stops nothing"
    made = acting(tmp_path, Act("stop"), **often)
    found = said(made, given)
    for row, place in enumerate(first):
        wanted = plain[row, : 13 if place is None else max(place, 2) + 2]
        assert torch.equal(found[row, : len(wanted)], wanted[: found.shape[1]])
        assert (found[row, len(wanted) :] == 0).all()
        alone = said(made, given[row : row + 1])[0]
        assert torch.equal(alone, found[row, : len(alone)])
    assert torch.equal(said(made, given, shadow=True), plain)


@pytest.mark.parametrize("above", [-1.0, 0.0])
def test_a_rule_steers_while_it_is_raised_with_a_cache_and_without(above: float, tmp_path: Path) -> None:
    where = saved(tmp_path / "d", dictionary())
    recipes.save(Recipe((Edit("add", Direction(where, 5), 8.0),)), tmp_path / "recipe.toml")
    made = acting(tmp_path, Act("steer", file=str(tmp_path / "recipe.toml")), above=above)
    given, plain = tokens(3, 5), said(None, tokens(3, 5))
    steered = said(made, given)
    assert torch.equal(steered, said(made, given, use_cache=False)) and not torch.equal(steered, plain)
    assert torch.equal(said(made, given, shadow=True), plain)
    for row in range(3):
        assert torch.equal(said(made, given[row : row + 1])[0], steered[row])
    if above < 0:  # always raised: all but the first pass is steered
        with ms.steer(model(), Recipe((Edit("add", Direction(where, 5), 8.0, start=5),))):
            assert torch.equal(said(None, given), steered)


def test_rules_with_another_recipe_are_refused(tmp_path: Path) -> None:
    where = saved(tmp_path / "d", dictionary())
    recipe = tmp_path / "recipe.toml"
    recipes.save(Recipe((Edit("add", Direction(where, 5), 8.0),)), recipe)
    made = acting(tmp_path, Act("steer", file=str(recipe)))
    rules_.save(made.pinned(Sources(model(), sites_of(model(), "tiny"), "rules file")), tmp_path / "rules.toml")
    held = rules_.load(tmp_path / "rules.toml")
    assert held.rules[0].actions[0].sha256 and rules_.digest(held) != rules_.digest(made)
    recipes.save(Recipe((Edit("add", Direction(where, 5), 9.0),)), recipe)
    with pytest.raises(MonoscopeError, match="content differs"):
        rules_.load(tmp_path / "rules.toml")


class Server:
    """Answers as it is told: a status, seconds to wait, or an address to go to."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.status, self.wait, self.location = 200, threading.Event(), ""
        self.wait.set()


@contextmanager
def server() -> Iterator[tuple[str, Server]]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.wait.wait(20)
            state.got.append(json.loads(body))
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            state.got.append({"redirected": True})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    held = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.daemon_threads = True
    thread = threading.Thread(target=held.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{held.server_port}/hook", state
    finally:
        state.wait.set()
        held.shutdown()
        held.server_close()
        thread.join()


def alerts(metrics: Metrics) -> tuple[float, float, float]:
    delivered, failed, dropped = (metrics.get("alerts", outcome=o) for o in ("delivered", "failed", "dropped"))
    return delivered, failed, dropped


def watched(folder: Path, url: str, **options: Any) -> tuple[Metrics, list, float]:
    """Watch with alerts to an address: what was counted, what was raised, and how long the passes took."""
    made = acting(folder, Act("alert", options))
    with ms.watch(model(), made, settings={"alert": {"url": url}}) as watching:
        began = time.monotonic()
        model()(input_ids=tokens(4, 20))
        took = time.monotonic() - began
    raised = [e for row in watching.rows for e in row.events if e.kind == "raised"]
    assert len(raised) > 5
    return watching.acting.metrics, raised, took


def test_alerts_are_delivered(tmp_path: Path) -> None:
    with server() as (url, state):
        metrics, raised, _ = watched(tmp_path, url)
    assert alerts(metrics) == (len(raised), 0, 0)
    assert [(m["rule"], m["place"], m["value"]) for m in state.got] == [("x is high", e.place, e.value) for e in raised]


def test_a_server_that_stalls_costs_decoding_nothing(tmp_path: Path) -> None:
    with server() as (url, state):
        state.wait.clear()
        metrics, raised, took = watched(tmp_path, url, waiting=2, timeout=20, patience=0.1)
    assert took < 5 and alerts(metrics) == (0, 0, len(raised))


def test_what_cannot_be_delivered_is_tried_again_and_counted(tmp_path: Path) -> None:
    with server() as (url, state):
        state.status = 500
        metrics, raised, _ = watched(tmp_path, url, tries=1)
        assert alerts(metrics) == (0, len(raised), 0) and len(state.got) == len(raised)
        state.status, state.location = 302, url
        metrics, raised, _ = watched(tmp_path, url, tries=1)
        assert alerts(metrics)[1] == len(raised) and {"redirected": True} not in state.got
    metrics, raised, _ = watched(tmp_path, url, tries=1)  # nobody is there
    assert alerts(metrics) == (0, len(raised), 0)


def test_one_failure_is_made_good_by_another_try(tmp_path: Path) -> None:
    with server() as (url, state):
        state.status = 503
        made = acting(tmp_path, Act("alert", {"patience": 5}), above=-1.0)
        with ms.watch(model(), made, settings={"alert": {"url": url}}) as watching:
            model()(input_ids=tokens(1, 2))
            while not state.got:
                time.sleep(0.005)
            state.status = 200
    assert alerts(watching.acting.metrics) == (1, 0, 0) and len(state.got) == 2


def test_rules_cannot_say_where_alerts_go(tmp_path: Path) -> None:
    for made, settings, message in (
        (acting(tmp_path, Act("alert", {"url": "http://127.0.0.1/"})), {}, "rules cannot give url"),
        (acting(tmp_path, Act("alert")), {}, "where to"),
        (acting(tmp_path, Act("alert")), {"alert": {"url": "file:///etc/passwd"}}, "is no address"),
        (acting(tmp_path, Act("alert", {"colour": 3})), {"alert": {"url": "http://127.0.0.1/"}}, "does not take"),
        (acting(tmp_path), {"alert": {"url": "http://127.0.0.1/"}}, "no rule asks for alert"),
        (acting(tmp_path, Act("steer")), {}, "needs a recipe"),
    ):
        with pytest.raises(MonoscopeError, match=message), ms.watch(model(), made, settings=settings):
            pass
    with pytest.raises(MonoscopeError, match="did you mean 'alert'"):
        Act("alrt")
    with pytest.raises(MonoscopeError, match="which is not there"):
        Act("steer", file=str(tmp_path / "none.toml"))


def test_alarms_are_spans(tmp_path: Path) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    before = trace.get_tracer
    trace.get_tracer = provider.get_tracer
    try:
        with ms.watch(model(), acting(tmp_path, Act("trace"))) as watching:
            model()(input_ids=tokens(2, 20))
    finally:
        trace.get_tracer = before
    events = [e for row in watching.rows for e in row.events]
    spans = sorted(kept.get_finished_spans(), key=lambda s: (s.attributes["monoscope.sequence"], s.start_time))
    assert [s.attributes["monoscope.place"] for s in spans] == [e.place for e in events if e.kind == "raised"] != []
    cleared = [s.attributes["monoscope.cleared"] for s in spans if "monoscope.cleared" in s.attributes]
    assert cleared == [e.place for e in events if e.kind == "cleared"] and all(s.name == "x is high" for s in spans)


def test_without_opentelemetry_tracing_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    with pytest.raises(MonoscopeError, match=r"monoscope\[otel\]"), ms.watch(model(), acting(tmp_path, Act("trace"))):
        pass


def test_a_watch_that_cannot_begin_leaves_nothing_open(tmp_path: Path) -> None:
    """Neither threads nor a locked log: with both mended it begins."""
    before = threading.active_count()
    made = acting(tmp_path, Act("alert"), Act("steer"))
    settings = {"alert": {"url": "http://127.0.0.1:9/"}}
    with pytest.raises(MonoscopeError, match="needs a recipe"):
        with ms.watch(model(), made, settings=settings, audit=tmp_path / "log.jsonl"):
            pass
    wrong = Rules((Signal("x", Direction(str(tmp_path / "d"), 99)),), acting(tmp_path, Act("alert")).rules)
    with pytest.raises(MonoscopeError, match="no feature 99"):
        with ms.watch(model(), wrong, settings=settings, audit=tmp_path / "log.jsonl"):
            pass
    with ms.watch(model(), acting(tmp_path), audit=tmp_path / "log.jsonl"):
        pass
    for thread in threading.enumerate():
        if thread.name == "monoscope alerts":
            thread.join(2)
    assert threading.active_count() <= before
