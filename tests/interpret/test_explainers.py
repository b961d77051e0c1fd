"""Explainers of the folder: what they see, what they say, what becomes of answers that say nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chat_server import Chat as Server
from chat_server import Reply, said, serving
from explained_world import DEAD, Chat, catalogue, head

from monoscope import plugins
from monoscope.catalogue.records import TokenWeight
from monoscope.catalogue.searching import AtHand
from monoscope.catalogue.store import Catalogue
from monoscope.concepts import concept
from monoscope.errors import MonoscopeError
from monoscope.interpret import explaining, prompting
from monoscope.interpret.asking.account import Account, Budget
from monoscope.interpret.asking.asker import NO_BUDGET, Asker
from monoscope.interpret.asking.cache import Cache
from monoscope.interpret.asking.retries import Retries
from monoscope.interpret.chat import Answer, Message, Prompt, openai_compatible, transformers_local
from monoscope.interpret.examples import CONTRAST, RANDOM, TOP, Gallery, Passage, Sizes, level
from monoscope.interpret.explainers import FIRES_ON, PACKAGE, PROMOTES, Task, language_model, name_of

FEATURES = [4, 8, 9, 10, 19, 29, 45, 47]
LIVING = [3, 4, *range(6, 12), *range(13, 40), *range(43, 48)]
BOTH = (FIRES_ON, PROMOTES)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "run"
    catalogue(path).close()
    return path


@pytest.fixture(scope="module")
def seen(built: Path) -> Iterator[Catalogue]:
    with Catalogue(built) as opened:
        yield opened


@pytest.fixture
def written(built: Path, tmp_path: Path) -> Iterator[Catalogue]:
    shutil.copytree(built, tmp_path / "run")
    with Catalogue(tmp_path / "run") as opened:
        opened.at_hand = AtHand(head=lambda: head(opened, dict(zip(FEATURES, "trestone", strict=True))))
        yield opened


def obliging(prompt: Prompt) -> Answer:
    return Answer(said("promised words" if "Promoted" in prompt.messages[-1].content else "tested words"), 10, 3)


# --- every explainer of the folder


@pytest.mark.parametrize("name", plugins.names(PACKAGE))
def test_every_explainer_keeps_the_contract(name: str, written: Catalogue) -> None:
    module = explaining.load(name)
    task = Task(written, [DEAD, *FEATURES], BOTH, model=Chat(obliging) if module.ASKS else None, batch=4)
    told = list(module.explanations(task))
    features = [e.feature for part in told for e in part.explanations]
    failed = {f for part in told for f in part.failures}
    assert features and len(set(features)) == len(features) and DEAD in failed
    assert set(features) | failed == {DEAD, *FEATURES}
    for e in (e for part in told for e in part.explanations):
        assert e.explainer == name_of(name, task.model) and (e.fires_on.strip() or e.promotes.strip())
        assert e.detail["catalogue"] == written.facts["key"]
        assert (FIRES_ON in e.detail["asked"]) == bool(e.fires_on)
        assert (PROMOTES in e.detail["asked"]) == bool(e.promotes)
        assert all(written.store.splits[d] == "fit" for d in e.detail.get("documents", ()))
        json.dumps(dict(e.detail))
        for expression in {"concept", "promotes_concept"} & set(e.detail):
            assert concept(e.detail[expression])  # it can be run
    again = [e for part in module.explanations(task) for e in part.explanations]
    assert again == [e for part in told for e in part.explanations]
    outcome = explaining.explain(name, task)
    assert [e.feature for e in written.explanations()] == sorted(features) and len(outcome.written) == len(features)
    assert written.scores() == sorted(
        (s for part in told for s in part.scores), key=lambda s: (s.feature, s.explainer, s.scorer)
    )
    assert explaining.explain(name, task).passed_over == len(features)


class OtherTest:
    """An index that says something else of every row of the split ``test``."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._index = catalogue.index
        self._test = catalogue.rows.in_split("test")
        self._rng = np.random.default_rng(1)

    def of(self, feature: int) -> tuple[np.ndarray, np.ndarray]:
        rows, values = self._index.of(feature)
        fit = ~self._test[rows]
        other = np.flatnonzero(self._test & (self._rng.random(len(self._test)) < 0.5))
        every = np.concatenate([rows[fit], other.astype(rows.dtype)])
        told = np.concatenate([values[fit], self._rng.uniform(1, 99, len(other)).astype(np.float32)])
        order = np.argsort(every)
        return every[order], told[order]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)


def test_what_is_shown_does_not_depend_on_the_split_test(seen: Catalogue) -> None:
    other = SimpleNamespace(
        index=OtherTest(seen), rows=seen.rows, store=seen.store, run=seen.run, facts=seen.facts,
    )  # fmt: skip
    for feature in FEATURES:
        one, two = Gallery(seen).show(feature), Gallery(other).show(feature)
        assert one == two and one is not None and len(one.documents()) > 5
        assert Gallery(seen).heaviest(feature, 8, 0.05) == Gallery(other).heaviest(feature, 8, 0.05)


# --- the examples


def test_forty_nine_examples_as_in_the_paper(seen: Catalogue) -> None:
    shown = [Gallery(seen).show(f) for f in FEATURES]
    assert max(len(s) for s in shown) == 49
    full = next(s for s in shown if len(s) == 49)
    counts = {kind: len(several) for kind, several in full.passages.items()}
    assert counts == {TOP: 10, **{str(i): 2 for i in range(1, 13)}, RANDOM: 5, CONTRAST: 6} and len(full.tokens) == 10


def test_passages_tell_the_truth(seen: Catalogue) -> None:
    rows, sizes = seen.rows, Sizes()
    for feature in FEATURES:
        shown = Gallery(seen).show(feature)
        everywhere = seen.index.dense(feature, 0, len(rows))
        most = everywhere[rows.in_split("fit")].max()
        taken: set[tuple[int, int]] = set()
        for kind, several in shown.passages.items():
            for p in several:
                assert seen.store.splits[p.document] == "fit"
                start = int(rows.index(np.array([p.document]), np.array([p.first]))[0])
                values = everywhere[start : start + len(p.texts)]
                assert list(p.levels) == [level(v, most) for v in values.tolist()]
                assert all((told == 0) == (v == 0) for told, v in zip(p.levels, values, strict=True))
                text = seen.store.document(p.document)
                first, last = text.starts[p.first], text.ends[p.first + len(p.texts) - 1]
                assert "".join(p.texts).encode() in text.text.encode()[max(0, first - 1) : last + 1] or "\\x" in str(p)
                assert p.centre == min(sizes.before, p.first + p.centre) and len(p.texts) <= 17
                assert kind in (RANDOM, CONTRAST) or p.levels[p.centre] > 0
                places = {(p.document, p.first + i) for i in range(len(p.texts))}
                assert not places & taken
                taken |= places


def test_contrasts_are_silent_and_hold_the_same_tokens(seen: Catalogue) -> None:
    found = 0
    for feature in FEATURES:
        shown = Gallery(seen).show(feature)
        fires, _ = Gallery(seen).firings(feature)
        tokens = set(seen.rows.tokens()[fires].tolist())
        for p in shown.passages[CONTRAST]:
            start = int(seen.rows.index(np.array([p.document]), np.array([p.first]))[0])
            assert not seen.index.dense(feature, start, start + len(p.texts)).any() and not any(p.levels)
            found += int(seen.rows.tokens()[start + p.centre]) in tokens
    assert found >= 3 * len(FEATURES)


def test_the_shares_go_from_strong_to_weak(seen: Catalogue) -> None:
    for feature in FEATURES:
        rows, values = Gallery(seen).firings(feature)
        falling = np.sort(values)[::-1]
        shown = Gallery(seen, Sizes(top=0, random=0, alone=0, contrast=0, intervals=4, each=3)).show(feature)
        for number in range(1, 5):
            low, high = falling[[len(rows) * number // 4 - 1, len(rows) * (number - 1) // 4]]
            for p in shown.passages[str(number)]:
                row = int(seen.rows.index(np.array([p.document]), np.array([p.first + p.centre]))[0])
                assert low <= seen.index.dense(feature, row, row + 1)[0] <= high
        strongest = Gallery(seen, Sizes(top=3, intervals=0)).show(feature).passages[TOP]
        assert strongest[0].levels[strongest[0].centre] == 9


def test_tokens_alone_have_their_mean_level(seen: Catalogue) -> None:
    feature = FEATURES[0]
    fit = seen.rows.in_split("fit")
    tokens, values = seen.rows.tokens()[fit], seen.index.dense(feature, 0, len(seen.rows))[fit]
    means = sorted(values[tokens == t].mean() for t in set(tokens.tolist()) if (values[tokens == t] > 0).sum() >= 3)
    levels = [t.level for t in Gallery(seen).show(feature).tokens]
    assert levels == [round(9 * m / values.max()) for m in means[::-1][:10]]


def test_the_same_seed_shows_the_same_and_another_others(seen: Catalogue) -> None:
    show = lambda seed: Gallery(seen, seed=seed).show(9)  # noqa: E731
    assert show(0) == show(0) and show(0) != show(1) and show(0).passages[TOP] == show(1).passages[TOP]


@pytest.mark.parametrize(("value", "told"), [(0.0, 0), (1e-9, 1), (0.1, 1), (0.5, 4), (0.95, 9), (1.0, 9), (-1.0, 0)])
def test_levels_are_0_only_where_the_feature_is_silent(value: float, told: int) -> None:
    assert level(value, 1.0) == told


# --- the questions


def test_a_passage_marks_what_fires_and_of_a_contrast_its_token() -> None:
    one = Passage(1, 4, ("a", " b\n", "\x1b"), (0, 7, 0), 0)
    assert prompting.passage(one) == "a« b↵»7\\x1b"
    silent = replace(one, levels=(0, 0, 0))
    assert prompting.passage(silent) == "a b↵\\x1b" and prompting.passage(silent, True) == "«a»0 b↵\\x1b"


def test_the_two_questions_have_their_own_evidence(seen: Catalogue) -> None:
    task = Task(seen, FEATURES[:1], BOTH, seed=3)
    fires, promotes = language_model.prompts(replace(task, model=Chat(obliging)))
    shown = Gallery(seen, seed=3).show(FEATURES[0])
    assert fires == prompting.fires_on(shown, seed=3) and fires.seed == 3
    text = fires.messages[-1].content
    assert all(prompting.passage(p, kind == CONTRAST) in text for kind, ps in shown.passages.items() for p in ps)
    record = seen[FEATURES[0]]
    for token in [*record.promoted, *record.suppressed]:
        assert f"«{prompting.visible(token.text)}» {token.weight:+.2f}" in promotes.messages[-1].content
    assert "Promoted" not in text and "fires" not in promotes.messages[-1].content
    none = prompting.promotes([TokenWeight(1, "x", 0.5)], [])
    assert none.messages[-1].content == "Promoted:\n«x» +0.50"


def test_a_feature_without_promoted_tokens_is_not_asked_about_them(seen: Catalogue) -> None:
    class NoHead:
        def __getitem__(self, feature: int) -> Any:
            return replace(seen[feature], promoted=[])

        def __getattr__(self, name: str) -> Any:
            return getattr(seen, name)

    task = Task(NoHead(), FEATURES[:1], BOTH, model=Chat(obliging))
    (told,) = language_model.explanations(task)
    assert told.explanations[0].promotes == "" and language_model.NO_HEAD in told.failures[FEATURES[0]]


# --- what becomes of answers


def test_useless_answers_are_no_explanations(written: Catalogue) -> None:
    chat = Chat(lambda prompt: Answer("I cannot say", 9, 3))
    outcome = explaining.explain("language_model", Task(written, FEATURES, model=chat, again=2))
    assert written.explanations() == [] and len(chat.asked) == 3 * len(FEATURES)
    assert outcome.failures == {f: "fires_on: malformed: 'I cannot say'" for f in FEATURES}
    chat.rule = lambda prompt: Answer("I cannot say", 9, 3) if prompt.seed == 0 else obliging(prompt)
    assert not explaining.explain("language_model", Task(written, FEATURES, model=chat, again=1)).failures
    assert [e.detail["faults"] for e in written.explanations()] == [["malformed: 'I cannot say'"]] * len(FEATURES)


def test_half_an_explanation_is_half_done(written: Catalogue) -> None:
    def rule(prompt: Prompt) -> Answer:
        return Answer("", failure="gone") if "Promoted" in prompt.messages[-1].content else obliging(prompt)

    task = Task(written, FEATURES, BOTH, model=Chat(rule))
    outcome = explaining.explain("language_model", task)
    assert outcome.failures == {f: "promotes: gone" for f in FEATURES} and len(outcome.written) == len(FEATURES)
    task = replace(task, model=Chat(obliging))
    assert explaining.explain("language_model", task).passed_over == 0  # the second question is still open
    assert {e.promotes for e in written.explanations()} == {"promised words"}
    assert explaining.explain("language_model", task).passed_over == len(FEATURES)
    assert explaining.explain("language_model", replace(task, questions=(FIRES_ON,))).passed_over == len(FEATURES)
    asked = len(task.model.asked)
    explaining.explain("language_model", task, redo=True)
    assert len(task.model.asked) == 2 * asked


def test_a_model_must_be_named(seen: Catalogue) -> None:
    with pytest.raises(MonoscopeError, match="has to be named"):
        list(language_model.explanations(Task(seen, FEATURES)))


def test_a_catalogue_of_the_split_test_alone_is_refused(seen: Catalogue) -> None:
    rows = SimpleNamespace(in_split=lambda split: np.zeros(3, bool))
    with pytest.raises(MonoscopeError, match="no text of the split 'fit'"):
        Gallery(SimpleNamespace(rows=rows, run="run"))


# --- all of it, through a server


def asking(server: Server, path: Path, **more: Any) -> Asker:
    sender = openai_compatible.reach("small", url=server.url, concurrency=16, timeout=30)
    return Asker(sender, cache=Cache(path), retries=Retries(first=0.01, longest=0.02), **more)


def test_through_a_faulty_server_nothing_is_lost_and_nothing_counted_twice(written: Catalogue, tmp_path: Path) -> None:
    plagues = {
        1: Reply(status=429, headers={"Retry-After": "0"}), 4: Reply(status=500), 6: Reply(said("cut"), cut=20),
        9: Reply("who knows"), 11: Reply(body=b"{"), 14: Reply(said("cut o"), finish="length"), 17: Reply(choices=2),
    }  # fmt: skip
    features = LIVING

    def script(number: int, body: dict[str, Any]) -> Reply:
        return plagues.get(number % 20) or Reply(said("words " * (1 + number % 3)))

    with serving(script) as server, asking(server, tmp_path / "c") as asker:
        outcome = explaining.explain("language_model", Task(written, features, BOTH, model=asker, again=4, batch=16))
        account = asker.account
        assert account.requests == len(server.asked)
        assert [account.prompt_tokens, account.answer_tokens] == server.told
    assert not outcome.failures and [e.feature for e in written.explanations()] == features
    assert all(e.fires_on.startswith("words") and e.promotes for e in written.explanations())
    assert len((tmp_path / "c").read_text().splitlines()) >= 2 * len(features)


def test_a_budget_that_ends_is_gone_on_from(written: Catalogue, tmp_path: Path) -> None:
    features = LIVING[:30]
    most = 12_000
    with serving(lambda number, body: Reply(said("something"), tokens=(900, 9))) as server:
        with asking(server, tmp_path / "c", account=Account(Budget(tokens=most))) as asker:
            task = Task(written, features, model=asker, batch=5)
            outcome = explaining.explain("language_model", task, stopped=lambda: asker.stopped)
            assert asker.stopped == NO_BUDGET and sum(server.billed) <= most
        done = len(outcome.written)
        assert 0 < done < len(features) and outcome.left == len(features) - done and not outcome.failures
        assert len(server.asked) == done == len(written.explanations())
        with asking(server, tmp_path / "c") as asker:
            outcome = explaining.explain("language_model", replace(task, model=asker))
        assert outcome.passed_over == done and len(server.asked) == len(features) == len(written.explanations())
        with asking(server, tmp_path / "c") as asker:  # the answers outlive the explanations
            explaining.explain("language_model", replace(task, model=asker), redo=True)
        assert len(server.asked) == len(features)


def test_a_server_with_a_real_model_behind_it(written: Catalogue, tmp_path: Path) -> None:
    local = transformers_local.reach("reference-a")

    def script(number: int, body: dict[str, Any]) -> Reply:
        end = Message("user", body["messages"][-1]["content"][-120:])  # it reads 256 tokens at most
        schema = body["response_format"]["json_schema"]["schema"]
        prompt = Prompt((end,), 40, schema, temperature=0.8, seed=number)
        (answer,) = local.send([prompt])
        finish = "length" if answer.truncated else "stop"
        return Reply(answer.text, tokens=(answer.prompt_tokens, answer.answer_tokens), finish=finish)

    with serving(script) as server, asking(server, tmp_path / "c") as asker:
        outcome = explaining.explain("language_model", Task(written, FEATURES, model=asker, again=5))
        assert asker.account.requests == len(server.asked)
        assert [asker.account.prompt_tokens, asker.account.answer_tokens] == server.billed
    answered = {e.feature: e.fires_on for e in outcome.written}
    assert set(answered) | set(outcome.failures) == set(FEATURES) and len(answered) >= 4
    assert len(set(answered.values())) > 1
