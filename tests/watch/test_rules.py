"""Rules as files, and what is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from watch_world import dictionary, model, saved, some_rules

import monoscope as ms
from monoscope.errors import MonoscopeError
from monoscope.models.sites import sites_of
from monoscope.signals.direction import Direction, Sources
from monoscope.watch import rules
from monoscope.watch.rules import Condition, Rule, Rules, Signal

OF = Direction("d", 3)


def test_rules_that_are_written_and_read_are_the_same_and_can_be_moved(tmp_path: Path) -> None:
    made = some_rules(tmp_path / "here")
    pinned = made.pinned(Sources(model(), sites_of(model(), "tiny"), "rules file"))
    assert pinned.fingerprint and all(s.of.sha256 for s in pinned.signals)
    rules.save(pinned, tmp_path / "here" / "rules.toml")
    assert rules.load(tmp_path / "here" / "rules.toml") == pinned
    (tmp_path / "here").rename(tmp_path / "there")
    with ms.watch(model(), tmp_path / "there" / "rules.toml") as watching:
        assert watching.rules.names == made.names


def test_rules_for_something_else_are_refused(tmp_path: Path) -> None:
    made = some_rules(tmp_path).pinned(Sources(model(), sites_of(model(), "tiny"), "rules file"))
    with (
        pytest.raises(MonoscopeError, match="for another model"),
        ms.watch(model(), Rules(made.signals, fingerprint="0" * 64)),
    ):
        pass
    saved(tmp_path / "one", dictionary(seed=9))
    with pytest.raises(MonoscopeError, match="content differs"), ms.watch(model(), made):
        pass


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ({"feature": 99}, "no feature 99"),
        ({"of": Direction(vector="none.npy"), "site": "embed"}, "holds no vector"),
        ({"site": "mlp_act.0"}, "x reads 16 numbers; mlp_act.0 of .* has 64"),
        ({"site": "resid_post.7"}, "no layer 7"),
    ],
)
def test_signals_that_the_model_lacks_are_refused(tmp_path: Path, signal: dict, message: str) -> None:
    saved(tmp_path / "d", dictionary())
    path, of = tmp_path / "rules.toml", Direction(str(tmp_path / "d"), signal.pop("feature", 3))
    rules.save(Rules((Signal("x", **{"of": of, **signal}),)), path)
    with pytest.raises(MonoscopeError, match=message), ms.watch(model(), path):
        pass


def test_what_makes_no_sense_is_refused_at_once() -> None:
    x = Condition("x", 1.0)
    for make, message in (
        (lambda: Signal("", OF), "no name"),
        (lambda: Signal("x", Direction(vector="v.npy")), "give the signal a site"),
        (lambda: Signal("x", OF, bias=1.0), "no bias"),
        (lambda: Signal("x", OF, density=(0.2, 0.1)), "density"),
        (lambda: Condition(), "one signal"),
        (lambda: Condition("x", 1.0, all=(x,)), "one signal"),
        (lambda: Condition(above=1.0, any=(x,)), "thresholds belong to signals"),
        (lambda: Condition("x"), "give the condition a threshold"),
        (lambda: Condition("x", float("nan")), "give the condition a threshold"),
        (lambda: Condition("x", 1.0, 2.0), "clear is at most above"),
        (lambda: Condition("x", 1.0, aggregation="maxx"), "did you mean 'max'"),
        (lambda: Condition("x", 1.0, aggregation="ema", options={"alpha": 1}), "does not take"),
        (lambda: Condition("x", 1.0, aggregation="max", options={"window": 0}), "window of 0"),
        (lambda: Condition("x", 1.0, aggregation="ema", options={"half_life": 0}), "half-life"),
        (lambda: Rule("r", x, lasting=0), "lasting = 0"),
        (lambda: Rules((Signal("x", OF), Signal("x", OF))), "two signals are called 'x'"),
        (lambda: Rules((Signal("x", OF),), (Rule("r", x), Rule("r", x))), "two rules are called 'r'"),
        (lambda: Rules((Signal("xx", OF),), (Rule("r", x),)), "did you mean 'xx'"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            make()


def test_the_rules_that_the_page_shows_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "watching.md").read_text()
    (tmp_path / "rules.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    found = rules.load(tmp_path / "rules.toml")
    assert found.names == ["after a colon", "my probe"] and [rule.lasting for rule in found.rules] == [1, 3]
    assert [act.name for act in found.rules[1].actions] == ["log", "tag", "stop"]
    assert len(list(found.rules[1].when.leaves())) == 2


SOME = "[[signals]]\nname = 'x'\nof = { dictionary = 'd', feature = 1 }\n"
RULE = SOME + "[[rules]]\nname = 'r'\nwhen = "


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", r"no \[\[signals\]\]"),
        ("[[signals]]\nname = 'x'", "signal 1 says nothing of of"),
        (RULE + "{ all = 3 }", "no list"),
        (RULE + "{ signl = 'x' }", "rule 1, when: unknown key 'signl'\n.*did you mean 'signal'"),
        (RULE + "{ all = [{ signal = 'x', above = 'y' }] }", "rule 1, when, all 1: "),
    ],
)
def test_a_file_that_holds_no_rules_says_what_is_wrong(tmp_path: Path, written: str, message: str) -> None:
    (tmp_path / "rules.toml").write_text(written)
    with pytest.raises(MonoscopeError, match=message):
        rules.load(tmp_path / "rules.toml")
