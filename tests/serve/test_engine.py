"""The engine: what it says is what ``generate`` says, whoever shares the batch, and nobody's slot is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from serve_world import (
    CONFIGS,
    SITE,
    TOLERANCE,
    Heard,
    agree,
    ask,
    dictionary,
    edit,
    generated,
    prompts,
    random_model,
    reference,
    saved,
    some_rules,
    watching_of,
)

import monoscope as ms
from monoscope.errors import MonoscopeError
from monoscope.intervene.edit import Recipe
from monoscope.serve.engine import Engine, Full, Limits
from monoscope.serve.minds import FeatureTap
from monoscope.serve.wanted import Wanted
from monoscope.signals.direction import Direction
from monoscope.watch.monitor import Monitor
from monoscope.watch.recorder import Recorder
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay
from monoscope.watch.rules import Act

families = pytest.mark.parametrize("family", CONFIGS)


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def greedy(tokens: tuple[int, ...], most: int = 16, **more: Any) -> Wanted:
    return Wanted(tokens, most, temperature=0.0, **more)


@families
def test_alone_it_says_exactly_what_generate_says(family: str) -> None:
    lm = random_model(family)
    with Engine(lm) as engine:
        for prompt in prompts(3):
            (heard,) = ask(engine, greedy(prompt))
            new, _ = generated(lm, prompt, 16)
            assert heard.tokens() == new
            assert heard.finish() == ("length" if len(new) == 16 else "stop")


@families
def test_in_a_batch_it_says_what_it_says_alone_but_for_ties(family: str) -> None:
    lm = random_model(family)
    given = prompts(10, longest=20)
    with Engine(lm, limits=Limits(slots=4)) as engine:  # so that sequences join and leave in the midst of others
        heard = ask(engine, *(greedy(p, 5 + 3 * i) for i, p in enumerate(given)))
    for i, one in enumerate(heard):
        assert agree(one.tokens(), *generated(lm, given[i], 5 + 3 * i))


def test_steered_it_says_what_steered_generate_says(tmp_path: Path) -> None:
    lm, where = reference(), saved(tmp_path / "d", dictionary())
    recipes = {
        "one": Recipe((edit(where, 3, "clamp", 6.0),)),
        "two": Recipe((edit(where, 5, "add", 4.0, start=2), edit(where, 7, "ablate", None))),
    }
    given = prompts(9)
    named = [None, "one", "two"] * 3
    said = {}
    with Engine(lm, recipes=recipes) as engine:
        alone = [ask(engine, greedy(p, recipe=n))[0].tokens() for p, n in zip(given, named, strict=True)]
        together = ask(engine, *(greedy(p, recipe=n) for p, n in zip(given, named, strict=True)))
    for i, (prompt, name) in enumerate(zip(given, named, strict=True)):
        with ms.steer(lm, [recipes.get(name or "")]):
            new, logits = generated(lm, prompt, 16)
        assert alone[i] == new
        assert agree(together[i].tokens(), new, logits)
        said[i] = new
    for prompt, i in zip(given, said, strict=True):
        if named[i]:
            assert said[i] != generated(lm, prompt, 16)[0], "the recipe changes nothing, so nothing was tested"


def test_null_steering_and_unsteered_neighbours_leave_the_logits_bit_for_bit(tmp_path: Path) -> None:
    lm, where, given = reference(), saved(tmp_path / "d", dictionary()), prompts(4)
    recipes = {"null": Recipe((edit(where, 3, "scale", 1.0),)), "real": Recipe((edit(where, 3, "add", 5.0),))}

    def logits(engine: Engine, names: list[int | None]) -> list[torch.Tensor]:
        with engine._steered():
            if engine._steering is not None:
                engine._steering.assign(names)
            batch, first = engine._passes.read(given)
            return [first, engine._passes.step(batch, [1, 2, 3, 4])]

    plain = logits(Engine(lm), [])
    steered = Engine(lm, recipes=recipes)
    null, real = 0, 1
    for names in ([None] * 4, [null] * 4, [null, None, null, None]):
        assert all(map(torch.equal, logits(steered, names), plain))
    mixed = logits(steered, [real, None, real, null])
    for found, wanted in zip(mixed, plain, strict=True):
        assert torch.equal(found[[1, 3]], wanted[[1, 3]]) and not torch.allclose(found[[0, 2]], wanted[[0, 2]])


def test_a_seed_gives_the_same_tokens_whatever_else_is_in_the_batch() -> None:
    lm, given = reference(), prompts(12)
    wanted = [Wanted(p, 24, 2, temperature=0.9, top_p=0.95, seed=i) for i, p in enumerate(given)]
    with Engine(lm) as engine:
        alone = [ask(engine, w)[0] for w in wanted]
        together = ask(engine, *wanted)
    other = 0
    for one, two in zip(alone, together, strict=True):
        assert one.tokens(0) != one.tokens(1)  # its choices draw apart
        other += sum(one.tokens(c) != two.tokens(c) for c in (0, 1))
    assert other == 0, "a draw within 1e-4 of a border is possible, and none of these is"
    assert alone[0].tokens() != ask_again(lm, wanted[0], seed=99)


def ask_again(lm: Any, wanted: Wanted, seed: int) -> list[int]:
    with Engine(lm) as engine:
        return ask(engine, Wanted(wanted.tokens, wanted.most, temperature=0.9, top_p=0.95, seed=seed))[0].tokens()


def test_log_probabilities_are_the_models(tmp_path: Path) -> None:
    lm, prompt = reference(), prompts(1)[0]
    with Engine(lm) as engine:
        (heard,) = ask(engine, greedy(prompt, top=3))
    _, logits = generated(lm, prompt, 16)
    for said, row in zip(heard.said(), logits, strict=False):
        assert said.logprob is not None
        wanted = torch.log_softmax(row, 0)
        assert said.logprob.value == pytest.approx(float(wanted[said.token]), abs=TOLERANCE)
        assert [t for t, _ in said.logprob.top] == wanted.topk(3).indices.tolist()


def test_stops_and_lengths(tmp_path: Path) -> None:
    lm = reference()
    tokens = tuple([*lm.tokeniser.prefix, *lm.tokeniser.text("import os\nimport ").tokens.tolist()])
    with Engine(lm) as engine:
        (whole,) = ask(engine, greedy(tokens, 30))
        stop = whole.text()[7:10]
        (cut,) = ask(engine, greedy(tokens, 30, stop=(stop,)))
    assert whole.finish() == "length" and len(whole.tokens()) == 30
    assert cut.finish() == "stop" and cut.text() == whole.text()[: whole.text().index(stop)]
    assert len(cut.tokens()) < 30


def test_features_of_a_token_are_those_of_the_pass_that_read_it() -> None:
    lm, made, prompt = reference(), dictionary(), prompts(1, longest=8, seed=4)[0]
    with Engine(lm, features=FeatureTap(lm, made, "mlp_act.0")) as engine:
        heard, other, bare = ask(
            engine,
            greedy(prompt, 10, features=3, of_prompt=True),
            greedy(prompts(1, seed=8)[0], 20, features=7),
            greedy(prompt, 10),
        )
    assert heard.tokens() == bare.tokens() and heard.finish() == bare.finish()  # watching changes nothing that is said
    assert all(s.mind is None for s in bare.said())
    whole = torch.tensor([[*prompt, *heard.tokens()]])
    codes = made.encode(activations(lm, whole)[0]).to_dense()
    told = [*heard.pieces[0].prompt, *heard.said()]
    assert [s.token for s in told] == whole[0].tolist() and heard.pieces[0].prompt
    for row, said in zip(codes, told, strict=True):
        assert said.mind is not None and len(said.mind.features) == min(3, int((row > 0).sum()))
        for feature, value in said.mind.features:
            assert value == pytest.approx(float(row[feature]), rel=1e-3, abs=1e-4)
        assert [v for _, v in said.mind.features] == pytest.approx(row.topk(3).values.tolist(), rel=1e-3, abs=1e-4)
    assert all(s.mind and len(s.mind.features) == 7 for s in other.said())


def activations(lm: Any, tokens: torch.Tensor) -> torch.Tensor:
    from monoscope.types import TokenBlock

    block = TokenBlock(tokens, torch.zeros_like(tokens), torch.zeros_like(tokens))
    found: torch.Tensor = lm.run(block, read=["mlp_act.0"])["mlp_act.0"]
    return found


def test_alarms_come_with_their_token_and_are_those_of_the_values_told(tmp_path: Path) -> None:
    lm, rules = reference(), some_rules(tmp_path)
    with Engine(lm, watching=watching_of(lm, rules)) as engine:
        heard = ask(engine, *(Wanted(p, 12, 2, seed=i) for i, p in enumerate(prompts(8))))
    events = 0
    for one in heard:
        prompt = torch.tensor([list(one.wanted.tokens)])
        with torch.no_grad(), ms.watch(lm, rules, follow=False) as plain:
            lm.model(input_ids=prompt)
        for choice in (0, 1):
            monitor = Monitor(rules)
            first = next(p for p in one.pieces if p.choice == choice)
            assert [dict(e) for s in first.prompt for e in s.mind.events] == [  # type: ignore[union-attr]
                vars(e) for e in monitor.step(plain.values[0].numpy())
            ]
            for said in one.said(choice):
                assert said.mind is not None
                values = torch.tensor([[said.mind.signals[name] for name in rules.names]])
                assert [dict(e) for e in said.mind.events] == [vars(e) for e in monitor.step(values.numpy())]
                assert said.mind.active == tuple(monitor.active)
                events += len(said.mind.events)
    assert events > 20


def test_what_is_given_up_is_told_no_more_and_frees_its_slots() -> None:
    lm = reference()
    with Engine(lm, limits=Limits(slots=2)) as engine:
        gone, held = Heard(Wanted((1, 2), 250)), Heard(greedy((3, 4), 200))
        waits = Heard(greedy((5, 6), 3, choices=2))
        first = engine.submit(gone.wanted, gone)
        engine.submit(held.wanted, held)
        until(lambda: len(gone.pieces) > 2 and len(held.pieces) > 2)
        dropped = engine.submit(Wanted((7,), 5), Heard(Wanted((7,), 5)))
        engine.submit(waits.wanted, waits)
        dropped.cancel()
        first.cancel()
        held.wait(), waits.wait()
        assert engine.load == (0, 0)
    assert not gone.over.is_set() and len(gone.pieces) < 250
    assert held.finish() == waits.finish(0) == waits.finish(1) == "length"


def test_limits_are_told_at_once(tmp_path: Path) -> None:
    lm = reference()
    engine = Engine(lm, limits=Limits(slots=3, waiting=4))  # not started: all wait
    for wanted, what in (
        (Wanted((), 5), "empty"),
        (Wanted((4096,), 5), "numbers from 0 to 4095"),
        (Wanted((-1,), 5), "numbers from 0"),
        (Wanted((1,) * 200, 57), "256"),
        (Wanted((1,), 5, choices=4), "3 choices"),
        (Wanted((1,), 5, recipe="../calm.toml"), "unknown recipe"),
    ):
        with pytest.raises(MonoscopeError, match=what):
            engine.submit(wanted, lambda piece: None)
    engine.submit(Wanted((1,), 5, choices=3), lambda piece: None)
    engine.submit(Wanted((1,), 5), lambda piece: None)
    with pytest.raises(Full):
        engine.submit(Wanted((1,), 5), lambda piece: None)


def test_a_pass_that_fails_ends_its_own_sequences_and_no_more(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    lm = reference()
    with Engine(lm) as engine:
        running = Heard(greedy((1, 2), 200))
        engine.submit(running.wanted, running)
        until(lambda: len(running.pieces) > 2)
        read = engine._passes.read

        def broken(given: Any) -> Any:
            if len(given[0]) == 3:
                raise RuntimeError("out of memory")
            return read(given)

        monkeypatch.setattr(engine._passes, "read", broken)
        (failed,) = ask(engine, greedy((1, 2, 3), 5))
        assert failed.pieces[-1].finish == "error" and "out of memory" in failed.pieces[-1].problem
        (well,) = ask(engine, greedy((1, 2), 5))
        assert well.finish() == "length" and running.wait().finish() == "length"
        monkeypatch.setattr(engine._passes, "step", lambda batch, tokens: 1 / 0)
        (failed,) = ask(engine, greedy((1, 2), 5))
        assert failed.pieces[-1].finish == "error"
        monkeypatch.undo()
        (well,) = ask(engine, greedy((1, 2), 5))
        assert well.finish() == "length"
    assert "out of memory" in caplog.text


def test_who_still_waits_is_told_when_it_stops() -> None:
    lm = reference()
    with Engine(lm, limits=Limits(slots=1)) as engine:
        heard = [Heard(greedy((1, 2), 250)) for _ in range(3)]
        for one in heard:
            engine.submit(one.wanted, one)
        until(lambda: len(heard[0].pieces) > 1)
    assert [one.finish() for one in heard] == ["error"] * 3 and not engine.alive


def test_errands_run_between_passes_and_unsteered(tmp_path: Path) -> None:
    lm, where = reference(), saved(tmp_path / "d", dictionary())
    recipes = {"real": Recipe((edit(where, 3, "add", 5.0),))}
    plain = activations(lm, torch.tensor([[1, 2, 3]]))
    with Engine(lm, recipes=recipes) as engine:
        busy = Heard(greedy((1, 2), 200, recipe="real"))
        engine.submit(busy.wanted, busy)
        found = [
            engine.between_passes(lambda: (threading.current_thread(), activations(lm, torch.tensor([[1, 2, 3]]))))
            for _ in range(5)
        ]
        for future in found:
            thread, values = future.result(10)
            assert torch.equal(values, plain) and thread is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            engine.between_passes(lambda: 1 / 0).result(10)
        busy.wait()


def test_no_token_is_lost_or_mixed_when_many_come_and_go() -> None:
    lm, numbers = reference(), random.Random(0)
    given = prompts(40, longest=30)
    wanted = [greedy(p, numbers.randint(1, 30), choices=numbers.choice((1, 1, 2))) for p in given]
    with Engine(lm, limits=Limits(slots=8)) as engine:
        heard = [Heard(w) for w in wanted]
        for one in heard:
            engine.submit(one.wanted, one)
            time.sleep(numbers.random() / 500)
        for one in heard:
            one.wait()
    for one in heard:
        new, logits = generated(lm, one.wanted.tokens, one.wanted.most)
        assert all(agree(one.tokens(c), new, logits) for c in range(one.wanted.choices))


def test_what_a_rule_stops_ends_with_the_token_that_raised_it(tmp_path: Path) -> None:
    lm, rules = reference(), some_rules(tmp_path)
    first, five, last = rules.rules
    stopping = replace(rules, rules=(first, replace(five, actions=(Act("stop"),)), last))
    given = [Wanted(p, 40, seed=i) for i, p in enumerate(prompts(8))]
    with Engine(lm, watching=watching_of(lm, rules)) as engine:
        whole = ask(engine, *given)
    with Engine(lm, watching=watching_of(lm, stopping)) as engine:
        cut = ask(engine, *given)
    stopped = 0
    for one, other in zip(whole, cut, strict=True):
        at_once = any(raises(s) for s in one.pieces[0].prompt)
        raised = [i for i, s in enumerate(one.said()) if raises(s)]
        end = 0 if at_once else raised[0] + 1 if raised else len(one.said())
        assert other.tokens() == one.tokens()[:end]
        assert other.finish() == ("content_filter" if end < len(one.said()) else one.finish())
        stopped += 0 < end < len(one.said())
    assert stopped > 2


def raises(said: Any) -> bool:
    return any(event["rule"] == "five" and event["kind"] == "raised" for event in said.mind.events)


def test_a_recording_explains_every_alarm_that_was_told(tmp_path: Path) -> None:
    lm, rules, numbers = reference(), some_rules(tmp_path), random.Random(2)
    watching = watching_of(lm, rules, Recorder(tmp_path / "recorded", seconds=0.05))
    wanted = [Wanted(p, numbers.randint(1, 30), 2, seed=i, name=f"request-{i}") for i, p in enumerate(prompts(20))]
    with Engine(lm, watching=watching, limits=Limits(slots=8)) as engine:
        heard = [Heard(w) for w in wanted]
        for one in heard:
            engine.submit(one.wanted, one)
        engine.between_passes(lambda: activations(lm, torch.tensor([[1, 2, 3]]))).result(10)  # is no part of any
        for one in heard:
            one.wait()
    found = replay(Recording(tmp_path / "recorded"), rules)
    replayed: dict[str, list[Any]] = {name: [] for name in found.names.values()}
    for sequence, event in found.events:
        replayed[found.names[sequence]].append(vars(event))
    assert found.complete and found.sequences == 40 and sum(map(len, replayed.values())) > 50
    for one in heard:
        for choice in (0, 1):
            first = next(p for p in one.pieces if p.choice == choice)
            said = [*first.prompt, *one.said(choice)]
            told = [dict(e) for s in said for e in s.mind.events]  # type: ignore[union-attr]
            assert told == replayed[f"{one.wanted.name}/{choice}"]
    recorded = sum(len(w.tokens) * 2 for w in wanted) + sum(len(one.tokens(c)) for one in heard for c in (0, 1))
    assert found.tokens == recorded == int(watching.acting.metrics.get("tokens"))


@pytest.mark.parametrize(
    ("kind", "seed", "before", "once"),
    [("topk", 0, False, True), ("topk", 1, False, False), ("topk", 0, True, False), ("batch_topk", 0, False, True)],
)
def test_rules_and_features_of_one_dictionary_encode_it_once(
    kind: str, seed: int, before: bool, once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, rules, encodes, passes = reference(), some_rules(tmp_path), list[int](), list[int]()
    where = saved(tmp_path / "of_rules", dictionary(kind))
    of_rules = [replace(s, of=Direction(where, s.of.feature), before=before) for s in rules.signals[:2]]
    rules = replace(rules, signals=(*of_rules, rules.signals[2]))
    wanted = [greedy(p, 12, features=3, of_prompt=True) for p in prompts(4)] + [greedy(prompts(1, seed=3)[0], 8)]
    with Engine(lm, features=FeatureTap(lm, dictionary(kind, seed), SITE)) as engine:
        plain = ask(engine, *wanted)
    with Engine(lm, features=FeatureTap(lm, dictionary(kind, seed), SITE), watching=watching_of(lm, rules)) as engine:
        encode = type(dictionary(kind)).encode
        monkeypatch.setattr(type(dictionary(kind)), "encode", lambda self, x: encodes.append(1) or encode(self, x))
        handle = lm.model.register_forward_hook(lambda *_: passes.append(1))
        heard = ask(engine, *wanted)
        handle.remove()
    assert len(passes) >= 13
    assert len(encodes) <= len(passes) if once else len(encodes) > len(passes) + 10
    assert [h.tokens() for h in heard] == [h.tokens() for h in plain]
    for a, b in zip(plain[:4], heard[:4], strict=True):
        for x, y in zip((*a.pieces[0].prompt, *a.said()), (*b.pieces[0].prompt, *b.said()), strict=True):
            assert x.mind is not None and y.mind is not None and len(x.mind.features) == 3
            assert dict(x.mind.features) == pytest.approx(dict(y.mind.features), rel=1e-3, abs=1e-4)
