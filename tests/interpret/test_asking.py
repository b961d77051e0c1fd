"""Asking: nothing is lost, nothing is asked or counted twice, the budget holds, the key stays where it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chat_server import Chat, Reply, said, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.interpret import chat
from monoscope.interpret.asking import pool
from monoscope.interpret.asking.account import Account, Budget, OutOfBudget, Prices
from monoscope.interpret.asking.asker import NO_BUDGET, Asker, answers_again
from monoscope.interpret.asking.cache import Cache, key
from monoscope.interpret.asking.retries import Gate, Retries, retry_after
from monoscope.interpret.asking.structured import SCHEMA, sentence, wrong
from monoscope.interpret.chat import Answer, Message, Prompt, Sender, openai_compatible, transformers_local
from monoscope.models import load_model

QUICK = Retries(first=0.01, longest=0.02)
SECRET = "sk-not-a-real-key-0123456789"


def prompt(i: int, **more: Any) -> Prompt:
    return Prompt((Message("system", "You explain."), Message("user", f"question number {i}")), max_tokens=20, **more)


OPEN: list[Asker] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def asker(server: Chat, **more: Any) -> Asker:
    options = {"timeout": 5.0, "concurrency": 16, **more.pop("reach", {})}
    sender = openai_compatible.reach("small", url=server.url, **options)
    OPEN.append(Asker(sender, **{"retries": QUICK, **more}))
    return OPEN[-1]


def echo(number: int, body: dict[str, Any]) -> Reply:
    return Reply(said(body["messages"][-1]["content"]))


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


# --- what every way to reach a model does


class Locally:
    """Ways to reach a model in a test, by the name of the plug-in."""

    @staticmethod
    def openai_compatible(server: Chat) -> Sender:
        return openai_compatible.reach("small", url=server.url)

    @staticmethod
    def transformers_local(server: Chat) -> Sender:
        return transformers_local.reach("reference-a", batch=3)


@pytest.mark.parametrize("name", plugins.names(chat.PACKAGE))
def test_every_way_to_reach_a_model_keeps_the_contract(name: str, tmp_path: Path) -> None:
    prompts = [replace(prompt(i), schema=SCHEMA) for i in range(5)]
    with serving(echo) as server:
        sender = getattr(Locally, name)(server)
        assert sender.at_once >= 1 and sender.workers >= 1 and "/" not in sender.name
        assert all(0 < sender.tokens(p) <= sender.most(p) for p in prompts)
        first = Asker(sender, cache=Cache(tmp_path / "chat.jsonl"))
        answers = first.answer([*prompts, prompts[0]])
        assert answers[5] == answers[0] and not any(a.failure for a in answers)
        assert all(0 < a.prompt_tokens <= sender.most(p) for a, p in zip(answers, prompts, strict=False))
        assert all(a.answer_tokens <= p.max_tokens for a, p in zip(answers, prompts, strict=False))
        assert first.account.answers == 5 and first.account.requests == -(-5 // sender.at_once)
        assert first.account.prompt_tokens == sum(a.prompt_tokens for a in answers[:5])
        assert first.account.answer_tokens == sum(a.answer_tokens for a in answers[:5])
        first.close()
        again = Asker(sender, cache=Cache(tmp_path / "chat.jsonl"))
        assert again.answer(prompts) == answers[:5]
        assert again.account.requests == 0 and again.account.reused == 5
        again.close()


# --- a server, and what goes wrong with it


def test_a_request_says_what_it_should() -> None:
    with serving(echo) as server:
        (answer,) = asker(server).answer([prompt(1, schema=SCHEMA, seed=7)])
        (body,) = server.asked
    assert sentence(answer) == "question number 1"
    assert body["model"] == "small" and body["max_tokens"] == 20 and body["seed"] == 7 and body["temperature"] == 0
    assert body["response_format"]["json_schema"]["schema"] == dict(SCHEMA)
    assert b"authorization" not in server.headers[0]


FAULTS = {
    "busy": Reply(status=429, headers={"Retry-After": "0"}, body=b'{"error": {"message": "slow down"}}'),
    "broken": Reply(status=500, body=b"oops"),
    "not ready": Reply(status=503, body=b"<html>"),
    "no JSON": Reply(body=b'{"choices": [{"mess'),
    "no object": Reply(body=b"[1, 2]"),
    "no choices": Reply(body=b"{}"),
    "no message": Reply(body=b'{"choices": [{"message": null}]}'),
    "cut": Reply(said("cut"), cut=30),
    "cut at once": Reply(said("cut"), cut=0),
    "two choices": Reply(said("one of two"), choices=2),
    "none of the choices": Reply(said("none"), choices=0),
    "late": Reply(said("late"), delay=0.6),
    "drips": Reply(said("drip"), drip=0.05),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_asked_again_and_counted(fault: str) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return FAULTS[fault] if number == 0 else echo(number, body)

    with serving(script) as server:
        asking = asker(server, reach={"timeout": 0.5 if fault in ("late", "drips") else 10.0})
        (answer,) = asking.answer([prompt(1)])
    assert sentence(answer) == "question number 1" and len(server.asked) == asking.account.requests == 2
    account, answered = asking.account, server.told
    assert [account.prompt_tokens, account.answer_tokens] == answered and account.answers == 1
    assert account.prompt_tokens + account.lost_prompt_tokens >= server.billed[0]
    assert account.answer_tokens + account.lost_answer_tokens >= server.billed[1]
    assert account.lost == (
        fault in ("no JSON", "no object", "no choices", "no message", "cut", "cut at once", "late", "drips")
    )


@pytest.mark.parametrize("fault", ["broken", "cut", "two choices"])
def test_a_fault_that_stays_is_a_failure_and_recorded(fault: str, tmp_path: Path) -> None:
    with serving(lambda number, body: FAULTS[fault]) as server:
        asking = asker(server, cache=Cache(tmp_path / "chat.jsonl"), retries=replace(QUICK, times=2))
        answers = asking.answer([prompt(1), prompt(2)])
        assert all(a.failure and not a.text for a in answers) and len(server.asked) == 6 == asking.account.requests
    lines = [json.loads(line) for line in (tmp_path / "chat.jsonl").read_text().splitlines()]
    assert {line["key"] for line in lines} == {key("small", prompt(i)) for i in (1, 2)}
    assert all(line["failure"] == answers[0].failure for line in lines) and len(asking.cache) == 0
    asking.close()
    with serving(echo) as server:  # a failure is no answer: it is asked again
        asking = asker(server, cache=Cache(tmp_path / "chat.jsonl"))
        assert not any(a.failure for a in asking.answer([prompt(1), prompt(2)])) and len(server.asked) == 2
        asking.close()


def test_everyone_waits_as_long_as_the_server_says() -> None:
    told = threading.Event()

    def script(number: int, body: dict[str, Any]) -> Reply:
        if number == 0:
            return Reply(status=429, headers={"Retry-After": "0.5"})
        assert told.wait(20)  # the second request is under way when the first is turned away
        return echo(number, body)

    with serving(script) as server:
        asking = asker(server, reach={"concurrency": 2})
        shut = asking._gate.shut
        asking._gate.shut = lambda seconds: (shut(seconds), told.set())
        answers = asking.answer([prompt(i) for i in range(8)])
    assert not any(a.failure for a in answers) and len(server.asked) == 9
    assert min(server.times[2:]) - server.times[0] >= 0.5


def test_no_one_waits_for_a_server_that_asks_for_hours() -> None:
    with serving(lambda n, body: Reply(status=429, headers={"Retry-After": "7200"})) as server:
        began = time.monotonic()
        (answer,) = asker(server).answer([prompt(1)])
        assert "429" in answer.failure and len(server.asked) == 1 and time.monotonic() - began < 5


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_lets_no_one_in_is_asked_no_further(status: int) -> None:
    body = json.dumps({"error": {"message": "no such thing"}}).encode()
    with serving(lambda n, b: Reply(status=status, body=body)) as server:
        asking = asker(server, reach={"concurrency": 1})
        answers = asking.answer([prompt(i) for i in range(50)])
        assert len(server.asked) == 1 and asking.stopped == f"the server answered {status}: no such thing"
    assert {a.failure for a in answers} == {asking.stopped}


def test_no_server_is_a_failure() -> None:
    with serving(echo) as server:
        pass
    asking = asker(server, retries=replace(QUICK, times=1))
    (answer,) = asking.answer([prompt(1)])
    assert answer.failure.startswith("no connection") and asking.account.requests == 0


REFUSALS = {
    "response_format": b'{"error": {"message": "response_format is not supported"}}',
    "max_tokens": b'{"error": {"message": "Unsupported parameter: \'max_tokens\'"}}',
    "temperature": b'{"detail": "temperature: extra fields not permitted"}',
    "seed": b'{"error": "unknown field: seed"}',
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_server_that_refuses_a_parameter_is_asked_without_it(name: str) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return Reply(status=400, body=REFUSALS[name]) if name in body else echo(number, body)

    with serving(script) as server:
        asking = asker(server, retries=Retries(times=0), reach={"concurrency": 1})
        answers = asking.answer([prompt(i, schema=SCHEMA) for i in range(5)])
        assert [sentence(a) for a in answers] == [f"question number {i}" for i in range(5)]
        assert len(server.asked) == 6 == asking.account.requests
        assert ("max_completion_tokens" in server.asked[-1]) == (name == "max_tokens")


def test_a_server_that_refuses_without_a_word_is_asked_for_plain_text() -> None:
    with serving(lambda n, b: Reply(status=422, body=b"no") if "response_format" in b else echo(n, b)) as server:
        asking = asker(server, retries=Retries(times=0))
        answers = asking.answer([prompt(i, schema=SCHEMA) for i in range(40)])
        assert [sentence(a) for a in answers] == [f"question number {i}" for i in range(40)]
        assert 41 <= len(server.asked) <= 40 + 16 and asking.account.requests == len(server.asked)


def test_one_bad_question_does_not_end_structured_answers() -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        return (
            Reply(status=400, body=b"too long") if "number 3" in body["messages"][-1]["content"] else echo(number, body)
        )

    with serving(script) as server:
        asking = asker(server, reach={"concurrency": 1})
        answers = asking.answer([prompt(i, schema=SCHEMA) for i in range(6)])
        assert [bool(a.failure) for a in answers] == [i == 3 for i in range(6)]
        assert all("response_format" in body for body in server.asked) and len(server.asked) == 6


def test_sixteen_at_a_time_and_no_more() -> None:
    with serving(lambda n, b: (time.sleep(0.03), echo(n, b))[1]) as server:
        answers = asker(server).answer([prompt(i) for i in range(64)])
    assert [sentence(a) for a in answers] == [f"question number {i}" for i in range(64)]
    assert 8 <= server.most_under_way <= 16


# --- the budget


@pytest.mark.parametrize("budget", [Budget(tokens=9_000), Budget(cost=0.02)], ids=["tokens", "money"])
def test_the_budget_holds_with_sixteen_at_a_time(budget: Budget) -> None:
    prices = Prices(prompt=2.0, answer=6.0)
    faults = list(FAULTS)[:9]

    def script(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.002)
        if number % 7 == 3:
            return FAULTS[faults[number % len(faults)]]
        most = sum(len(m["content"]) for m in body["messages"]) + 64 * 3
        return Reply(said("x"), tokens=(most if number % 2 else 40, 20 if number % 3 else 5))

    with serving(script) as server:
        asking = asker(server, account=Account(budget, prices))
        answers = asking.answer([prompt(i) for i in range(400)])
        account = asking.account
        assert account.requests == len(server.asked)
        bill = server.billed
    got = [a for a in answers if not a.failure]
    assert got and asking.stopped == NO_BUDGET and {a.failure for a in answers[-1:]} == {NO_BUDGET}
    assert len(got) == account.answers
    spent = (account.prompt_tokens + account.lost_prompt_tokens, account.answer_tokens + account.lost_answer_tokens)
    assert bill[0] <= spent[0] and bill[1] <= spent[1]
    assert budget.allows(*spent, prices) and budget.allows(*bill, prices)
    most = 200 + 64 * 3, 20  # it is used up, not given up early: what is left would not have covered one more
    assert not budget.allows(spent[0] + most[0], spent[1] + most[1], prices)
    assert asking.answer([prompt(401)])[0].failure == NO_BUDGET and len(server.asked) == account.requests


def test_an_attempt_waits_for_those_under_way_rather_than_giving_up() -> None:
    account = Account(Budget(tokens=100))
    first = account.hold(40, 40)
    threading.Timer(0.05, lambda: account.settle(first, (10, 10), answers=1)).start()
    second = account.hold(40, 40)  # would not fit beside the first, and fits beside what it came to
    account.settle(second, None)
    assert (account.lost, account.lost_prompt_tokens, account.prompt_tokens) == (1, 40, 10)
    with pytest.raises(OutOfBudget):
        account.hold(1, 0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.floats(0, 1), st.booleans())), st.integers(0, 300))
def test_whatever_comes_the_budget_holds(attempts: list[tuple[int, int, float, bool]], limit: int) -> None:
    account = Account(Budget(tokens=limit))
    for inputs, outputs, share, lost in attempts:
        try:
            hold = account.hold(inputs, outputs)
        except OutOfBudget:
            continue
        account.settle(hold, None if lost else (int(share * inputs), int(share * outputs)))
        told = account.to_json()
        assert sum(told[n] for n in told if n.endswith("tokens")) <= limit


def test_a_budget_that_means_nothing_is_refused() -> None:
    with pytest.raises(MonoscopeError, match="needs prices"):
        Account(Budget(cost=1.0))
    with pytest.raises(MonoscopeError, match="cannot be -1"):
        Account(Budget(tokens=-1))
    with pytest.raises(MonoscopeError, match="cannot be nan"):
        Account(prices=Prices(prompt=float("nan")))


def test_an_estimate_sends_nothing_and_knows_the_cache(tmp_path: Path) -> None:
    with serving(echo) as server:
        asking = asker(server, cache=Cache(tmp_path / "c"), account=Account(prices=Prices(1.0, 10.0)))
        asking.answer([prompt(0)])
        told = asking.estimate([prompt(i) for i in (0, 1, 2, 1)])
        assert len(server.asked) == 1
        asking.close()
    each = asking.tokens(prompt(1))
    assert (told.prompts, told.cached, told.prompt_tokens, told.answer_tokens) == (4, 2, 2 * each, 40)
    assert told.cost == pytest.approx(2 * each / 1e6) and told.most == pytest.approx((2 * each + 400) / 1e6)


# --- what is kept


CHILD = """
import sys
from pathlib import Path
from monoscope.interpret.asking.asker import Asker
from monoscope.interpret.asking.cache import Cache
from monoscope.interpret.chat import Message, Prompt, openai_compatible
sender = openai_compatible.reach("small", url=sys.argv[1], concurrency=4)
asking = Asker(sender, cache=Cache(Path(sys.argv[2])))
ask = lambda i: Prompt((Message("system", "You explain."), Message("user", f"question number {i}")), max_tokens=20)
answers = asking.answer([ask(i) for i in range(40)])
print(asking.account.requests, sum(not a.failure for a in answers))
"""


def test_a_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    enough = threading.Event()

    def script(number: int, body: dict[str, Any]) -> Reply:
        if number >= 24:
            enough.set()
            time.sleep(1.0)  # four are under way when the process is killed
        return echo(number, body)

    with serving(script) as server:
        command = [sys.executable, "-c", CHILD, server.url, str(path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert enough.wait(60)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        before = {body["messages"][-1]["content"] for body in server.asked}
        kept = path.read_bytes()
        assert 20 <= kept.count(b"\n") <= 24
        path.write_bytes(kept[:-25])  # as if it had been killed in the middle of the last line
        server.script = echo
        first = len(server.asked)
        done = subprocess.run(command, capture_output=True, check=True)
    after = [body["messages"][-1]["content"] for body in server.asked[first:]]
    known = {json.loads(line)["key"] for line in kept[:-25].splitlines()[:-1]}
    expected = [i for i in range(40) if key("small", prompt(i)) not in known]
    assert sorted(after) == sorted(f"question number {i}" for i in expected) and len(before) >= 24
    assert done.stdout.split() == [str(len(expected)).encode(), b"40"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=8), st.binary(max_size=40))
def test_whatever_ends_the_file_all_whole_lines_count(texts: list[str], torn: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.jsonl"
        cache = Cache(path)
        for i, text in enumerate(texts):
            cache.add(key("m", prompt(i)), "m", Answer(text, 3, 4, truncated=bool(i % 2)))
        cache.close()
        with path.open("ab") as file:
            file.write(torn)
        cache = Cache(path)
        cache.add(key("m", prompt(99)), "m", Answer("after"))
        cache.close()
        cache = Cache(path)
        assert [cache.get(key("m", prompt(i))) for i in range(len(texts))] == [
            Answer(text, 3, 4, truncated=bool(i % 2)) for i, text in enumerate(texts)
        ]
        assert cache.get(key("m", prompt(99))) == Answer("after") and cache.get(key("m", prompt(100))) is None
        cache.close()


def test_an_answer_is_known_by_everything_that_was_asked() -> None:
    one = prompt(1, schema=SCHEMA)
    others = [
        prompt(1), prompt(2, schema=SCHEMA), replace(one, seed=1), replace(one, temperature=0.1),
        replace(one, max_tokens=9), replace(one, messages=one.messages[1:]), replace(one, schema={"type": "string"}),
    ]  # fmt: skip
    keys = {key("m", p) for p in [one, *others]} | {key("other", one)}
    assert len(keys) == len(others) + 2 and key("m", one) == key("m", prompt(1, schema=dict(SCHEMA)))


def test_a_second_process_may_not_write_into_the_same_file(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c")
    with pytest.raises(MonoscopeError, match="in use by another process"):
        Cache(tmp_path / "c")
    cache.close()
    Cache(tmp_path / "c").close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a program has it; where tests run side by side, each process ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_keeps_what_comes_and_stops(tmp_path: Path, interruptible: None) -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        if number == 4:
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        time.sleep(0.2 if number >= 4 else 0)
        return echo(number, body)

    with serving(script) as server:
        asking = asker(server, cache=Cache(tmp_path / "c"), reach={"concurrency": 4})
        with pytest.raises(KeyboardInterrupt):
            asking.answer([prompt(i) for i in range(100)])
        asked = len(server.asked)
        assert asked < 12 and len(asking.cache) == asked == asking.account.answers
        server.script = echo
        assert not any(a.failure for a in asking.answer([prompt(i) for i in range(20)]))  # and it can go on
        assert len(server.asked) == 20
        asking.close()


def test_a_defect_in_a_worker_is_not_swallowed() -> None:
    def work(i: int) -> None:
        if i == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool.run(work, range(10), 4, threading.Event())


# --- the key


def test_the_key_is_sent_and_seen_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", SECRET)
    path = tmp_path / "chat.jsonl"

    def script(number: int, body: dict[str, Any]) -> Reply:
        text = body["messages"][-1]["content"]
        if "number 1" in text:
            return Reply(status=422, body=json.dumps({"error": {"message": f"key {SECRET} is odd"}}).encode())
        return Reply(said(f"you sent {SECRET}"))

    with serving(script) as server:
        asking = asker(server, cache=Cache(path), reach={"key_variable": "SOME_KEY"}, retries=Retries(times=0))
        answers = asking.answer([prompt(0), prompt(1)])
        assert all(h[b"authorization"] == f"Bearer {SECRET}".encode() for h in server.headers)
        server.script = lambda n, b: Reply(status=401, body=f"who is {SECRET}?".encode())
        answers += asking.answer([prompt(2)])
        asking.close()
    assert [a.failure for a in answers[1:]] == [
        "the server answered 422: key [key] is odd", "the server answered 401: who is [key]?",
    ]  # fmt: skip
    assert sentence(answers[0]) == "you sent [key]"
    seen = path.read_text() + repr(answers) + asking.stopped + repr(vars(asking)) + repr(asking.account.to_json())
    assert SECRET not in seen and server.url not in seen and len(path.read_text().splitlines()) == 3


def test_a_key_that_is_missing_misplaced_or_unsafe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MonoscopeError, match="names is not set") as error:
        openai_compatible.reach("m", url="http://127.0.0.1/v1", key_variable=SECRET)
    assert SECRET not in str(error.value)
    monkeypatch.setenv("SOME_KEY", SECRET)
    with pytest.raises(MonoscopeError, match="unencrypted"):
        openai_compatible.reach("m", url="http://example.org/v1", key_variable="SOME_KEY")
    with pytest.raises(MonoscopeError, match="name or password") as error:
        openai_compatible.reach("m", url=f"https://me:{SECRET}@example.org/v1")
    assert SECRET not in str(error.value)
    for url in ("", "example.org/v1", "ftp://example.org", "http://"):
        with pytest.raises(MonoscopeError, match="no address"):
            openai_compatible.reach("m", url=url)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)  # there, but not named: it does not travel in the open
    assert openai_compatible.reach("m", url="http://example.org/v1")._key == ""
    assert openai_compatible.reach("m", url="https://example.org/v1")._key == SECRET


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MonoscopeError, match="needs httpx2") as error:
        openai_compatible.reach("m", url="http://127.0.0.1/v1")
    assert "monoscope[chat]" in str(error.value)


def test_the_address_may_be_whole_or_not() -> None:
    for url in ("http://localhost:1/v1", "http://localhost:1/v1/", "http://localhost:1/v1/chat/completions"):
        assert openai_compatible.reach("m", url=url)._url == "http://localhost:1/v1/chat/completions"
    kept = openai_compatible.reach("m", url="https://h/openai/d?api-version=2")._url
    assert kept == "https://h/openai/d/chat/completions?api-version=2"


# --- the model on this machine


def test_a_batch_answers_as_each_alone() -> None:
    together, alone = transformers_local.reach("reference-a", batch=8), transformers_local.reach("reference-a", batch=1)
    texts = ["def f(x):", "import os\nimport sys\n", "class A:\n    pass\n", "x"]
    prompts = [
        Prompt(
            (Message("user", t),), max_tokens=10 + i, temperature=float(i % 2), seed=i, schema=SCHEMA if i < 2 else None
        )
        for i, t in enumerate(texts)
    ]
    assert together.send(prompts) == [alone.send([p])[0] for p in prompts]
    drawn = [together.send([replace(prompts[1], seed=s, schema=None)])[0].text for s in range(4)]
    assert len(set(drawn)) > 1


def test_a_draw_follows_the_model_s_probabilities() -> None:
    import torch

    draw = transformers_local._Draw([Prompt((), temperature=2.0, seed=s) for s in range(4000)], torch.device("cpu"))
    logits = torch.tensor([0.0, 1.0, 3.0]).expand(4000, 3)
    share = torch.bincount(draw(torch.zeros(4000, 1, dtype=torch.long), logits).argmax(1), minlength=3) / 4000
    expected = (logits[0] / 2).softmax(0)
    assert torch.all((share - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt())


STRICT = """{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}
[{{ m.role }}] {{ m.content }}{% endfor %}{% if add_generation_prompt %} [assistant] {% endif %}"""
LOOSE = """{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}\
{% if add_generation_prompt %}[assistant] {% endif %}"""


@pytest.mark.parametrize(
    ("template", "seen"),
    [
        (LOOSE, '[system] You explain. [user] question number 1 [assistant] {"explanation": "'),
        (STRICT, '[user] You explain.\n\nquestion number 1 [assistant] {"explanation": "'),
        (None, '<|endoftext|>You explain.\n\nquestion number 1\n\n{"explanation": "'),
    ],
)
def test_a_prompt_is_written_as_the_model_s_template_says(template: str | None, seen: str) -> None:
    lm = load_model("reference-a")
    lm.tokeniser.fast.chat_template = template
    sender = transformers_local.reach(lm)
    assert lm.tokeniser.fast.decode(sender._ids(prompt(1, schema=SCHEMA))).strip() == seen
    (answer,) = sender.send([prompt(1, schema=SCHEMA)])
    assert answer.prompt_tokens == sender.tokens(prompt(1, schema=SCHEMA)) and answer.text.startswith(
        '{"explanation": "'
    )


def test_a_prompt_that_does_not_fit_fails_alone() -> None:
    sender = transformers_local.reach("reference-a")
    long = Prompt((Message("user", "word " * 400),), max_tokens=4)
    asking = Asker(sender)
    wrong, right = asking.answer([long, prompt(1)])
    assert "do not fit into 256" in wrong.failure and not right.failure
    assert asking.account.lost == 0 and asking.account.answers == 1


# --- reading an answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"explanation": "dates"}', "dates"),
        ('Sure!\n```json\n{"explanation": "dates\\nand times"}\n```', "dates and times"),
        ('{"a": {"b": 1}} {"explanation": "the letter {"}', "the letter {"),
        ("I think so.\nExplanation: numbers in code\n", "numbers in code"),
        ('**Explanation**: "numbers"', "numbers"),
        ('{"explanation": ""}', ""),
        ('{"explanation": 3}', ""),
        ('{"explanation": "..."}', ""),
        ('{"explanation": "dat', ""),
        ("", ""),
        ("numbers", ""),
        (said("x" * 601), ""),
        (said("a\x1b[2Jb"), ""),
        ("{" * 5000, ""),
    ],
)
def test_a_sentence_is_read_from_json_or_a_line(text: str, found: str) -> None:
    assert sentence(Answer(text)) == found and bool(wrong(Answer(text))) == (not found)
    assert sentence(Answer(text, truncated=True)) == "" and wrong(Answer(text, truncated=True)).startswith("truncated")
    assert sentence(Answer(text, failure="no")) == "" and wrong(Answer(text, failure="no")) == "no"


def test_useless_answers_are_asked_again_as_often_as_told() -> None:
    def script(number: int, body: dict[str, Any]) -> Reply:
        text = body["messages"][-1]["content"]
        if "number 0" in text or (body["seed"] > 0 and "number 1" in text):
            return Reply(said("fine"))
        return Reply(said("too lo"), finish="length") if "number 2" in text else Reply("what?")

    with serving(script) as server:
        asking = asker(server)
        done = answers_again(asking.answer, [prompt(i) for i in range(3)], wrong, 2)
        asked = len(server.asked)
    assert [sentence(answer) for answer, _ in done] == ["fine", "fine", ""] and asked == 1 + 2 + 3
    assert [len(faults) for _, faults in done] == [0, 1, 3] and done[2][1][0].startswith("truncated")
    temperatures = {(b["seed"], b["temperature"]) for b in server.asked}
    assert temperatures == {(0, 0.0), (1, 0.7), (2, 0.7)}


# --- when to try again


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
    assert retry_after("7", now) == 7 and retry_after("0.5") == 0.5 and retry_after("-3") == 0
    assert retry_after("Sat, 28 Nov 2026 12:01:30 GMT", now) == 90
    assert retry_after("Sat, 28 Nov 2026 11:00:00 GMT", now) == 0
    assert retry_after(None) is None and retry_after("soon") is None


def test_waits_grow_and_stay_below_the_longest() -> None:
    retries = Retries(first=1.0, longest=5.0)
    for attempt, most in enumerate((1, 2, 4, 5, 5), 1):
        assert all(most / 2 <= retries.delay(attempt) <= most for _ in range(20))


def test_a_shut_gate_opens_or_stops() -> None:
    gate = Gate()
    assert gate.passed()
    gate.shut(0.1)
    began = time.monotonic()
    assert gate.passed() and time.monotonic() - began >= 0.1
    gate.shut(60)
    threading.Timer(0.05, gate.stop.set).start()
    assert not gate.passed()


@pytest.fixture(autouse=True)
def no_warnings_from_threads(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not [w for w in recwarn if "Thread" in str(w.message)]
