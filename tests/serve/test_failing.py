"""A value that is not finite ends the request in whose sequence it arises, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from serve_world import SITE, Heard, ask, dictionary, edit, prompts, reference, saved, some_rules, watching_of
from torch import Tensor

from monoscope.intervene.edit import Recipe
from monoscope.serve.engine import Engine
from monoscope.serve.minds import FeatureTap
from monoscope.serve.wanted import Wanted
from monoscope.watch.recorder import Recorder
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay


@contextmanager
def broken_by(token: int, path: str, value: float = float("nan")) -> Iterator[None]:
    """What comes out of a module is ``value`` on every token of this number."""
    model, read = reference().model, list[Tensor]()

    def begin(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        read[:] = [kwargs["input_ids"] == token]

    def after(module: Any, args: Any, output: Tensor) -> Tensor:
        return output.masked_fill(read[0][:, -output.shape[1] :, None], value)

    handles = [
        model.register_forward_pre_hook(begin, with_kwargs=True),
        model.get_submodule(path).register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def engines(folder: Path) -> dict[str, Any]:
    """What an engine may have beside the model."""
    lm = reference()
    recipes = {"one": Recipe((edit(saved(folder / "steer", dictionary(seed=3)), 3, "clamp", 2.0),))}
    (folder / "rules").mkdir()
    rules = some_rules(folder / "rules")
    return {
        "bare": {},
        "features": {"features": FeatureTap(lm, dictionary(), SITE)},
        "watched": {"watching": watching_of(lm, rules, Recorder(folder / "recorded"))},
        "steered": {"recipes": recipes},
        "all": {
            "recipes": recipes, "features": FeatureTap(lm, dictionary(), SITE), "watching": watching_of(lm, rules),
        },
    }  # fmt: skip


def asked(kind: str) -> list[Wanted]:
    more: dict[str, Any] = {"features": 3} if kind in ("features", "all") else {}
    more |= {"recipe": "one"} if kind in ("steered", "all") else {}
    return [Wanted(p, 24, temperature=0.0, name=str(i), **more) for i, p in enumerate(prompts(4, seed=5))]


def own_token(heard: list[Heard]) -> tuple[int, int]:
    """A token that the first of them says after a while and nobody else ever reads, and how many it says before."""
    others = {t for one in heard[1:] for t in (*one.wanted.tokens, *one.tokens())} | set(heard[0].wanted.tokens)
    said = heard[0].tokens()
    at = next(i for i in range(3, len(said)) if said[i] not in others and said[i] not in said[:i])
    return said[at], at


def assert_same(one: Heard, two: Heard) -> None:
    """The same words, and the same read off them but for what rounding does when others leave the batch."""
    assert one.tokens() == two.tokens() and one.text() == two.text() and one.finish() == two.finish()
    for a, b in zip(one.said(), two.said(), strict=True):
        if a.mind is not None and b.mind is not None:
            assert dict(a.mind.features) == pytest.approx(dict(b.mind.features), rel=1e-3, abs=1e-4)
            assert a.mind.signals == pytest.approx(b.mind.signals, rel=1e-3, abs=1e-3)
            assert a.mind.active == b.mind.active
        assert (a.mind is None) == (b.mind is None)


@pytest.mark.parametrize("kind", ["bare", "features", "watched", "steered", "all"])
@pytest.mark.parametrize("path", ["transformer.wte", "lm_head"])
def test_only_the_request_fails_in_whose_sequence_it_arises(path: str, kind: str, tmp_path: Path) -> None:
    whole = engines(tmp_path)[kind]
    with Engine(reference(), **engines_again(tmp_path / "plain", kind)) as engine:
        plain = ask(engine, *asked(kind))
    token, at = own_token(plain)
    with Engine(reference(), **whole) as engine, broken_by(token, path):
        heard = ask(engine, *asked(kind))
        again = ask(engine, *asked(kind)[1:])  # and the engine goes on as ever
    assert heard[0].finish() == "error" and "not finite" in heard[0].pieces[-1].problem
    wanted = plain[0].tokens()[: at + 1]
    assert heard[0].tokens() == wanted[: len(heard[0].tokens())] and len(heard[0].tokens()) >= at
    for one, two, three in zip(plain[1:], heard[1:], again, strict=True):
        assert_same(one, two)
        assert_same(one, three)
        assert two.finish() == "length"
    if kind == "watched":
        assert whole["watching"].rows == [] or all(row is None or row.over for row in whole["watching"].rows)
        found = replay(Recording(tmp_path / "recorded"), whole["watching"].rules)
        assert found.complete and len(found.names) == 7
        events = [vars(e) for s, e in found.events if s < 4 and found.names[s] == "1/0"]
        told = [dict(e) for s in (*heard[1].pieces[0].prompt, *heard[1].said()) for e in s.mind.events]  # type: ignore
        assert told == events


def engines_again(folder: Path, kind: str) -> Any:
    folder.mkdir()
    return engines(folder)[kind]


@pytest.mark.parametrize("kind", ["features", "watched", "steered"])
def test_a_prompt_that_holds_it_fails_alone(kind: str, tmp_path: Path) -> None:
    made = engines(tmp_path)[kind]
    bad, good = asked(kind)[:2]
    with Engine(reference(), **engines_again(tmp_path / "plain", kind)) as engine:
        (plain,) = ask(engine, good)
    token = bad.tokens[len(bad.tokens) // 2]
    assert token not in (*good.tokens, *plain.tokens())
    with Engine(reference(), **made) as engine, broken_by(token, "transformer.wte", torch.inf):
        one, two = ask(engine, bad, good)
    assert one.finish() == "error" and "not finite" in one.pieces[-1].problem and not one.tokens()
    assert_same(two, plain)
