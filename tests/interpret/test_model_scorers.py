"""Scorers that run the model: what a direction promotes, and what happens without the feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from score_world import Constant, dictionary, language_model, told, world

from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.loss_effect import loss_effects
from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.concepts import concept
from monoscope.errors import MonoscopeError
from monoscope.interpret import scoring
from monoscope.interpret.judges.concept import Concepts
from monoscope.interpret.scorers import causal, logits
from monoscope.interpret.scorers._bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(world(tmp_path_factory.mktemp("run")), lm=language_model(1), dictionary=dictionary(), width=12)


@pytest.fixture(scope="module")
def concepts(bench):
    return Concepts(bench.catalogue.store)


def scores(bench, name, given, judge, **options):
    return [s for part in scoring.score(bench, name, given, judge, **options) for s in part]


@pytest.mark.parametrize("name", [n for n in scoring.names() if scoring.load(n).MODEL])
def test_the_model_is_asked_for(bench, concepts, name):
    with pytest.raises(MonoscopeError, match="runs the model, which the bench does not have"):
        scores(replace(bench, lm=None), name, told(bench.catalogue), concepts)


@pytest.fixture
def few_tokens(monkeypatch):
    """The tiny world has some forty tokens."""
    for name, value in (("FIRST", 2), ("LAST", 12), ("RANDOM", 10)):
        monkeypatch.setattr(logits, name, value)


def test_promoted_tokens_are_those_that_the_direction_raises(bench, few_tokens):
    lm, feature = bench.lm, 3
    weights = logits.weights(bench, feature)
    step = bench.dictionary.directions[feature] @ lm.to_residual("mlp_act.0") @ lm.unembedding()
    assert np.allclose(weights, step.numpy())
    exam = logits.examine(bench, feature)
    promoted = [p.first for p, true in zip(exam.passages, exam.truth, strict=True) if true]
    others = [p.first for p, true in zip(exam.passages, exam.truth, strict=True) if not true]
    assert len(promoted) == len(others) == 10 and weights[promoted].min() > weights[others].max()
    assert all(p.texts == (Vocabulary(lm.tokeniser)[p.first],) for p in exam.passages)
    assert set(promoted) | set(others) <= set(bench.tokens.tolist())


def test_words_on_what_is_promoted_are_judged(bench, concepts, few_tokens):
    exam = logits.examine(bench, 3)
    named = [p.texts[0] for p, true in zip(exam.passages, exam.truth, strict=True) if true]
    expression = " | ".join(f"token({text!r})" for text in named)
    right = Explanation(3, "truth", "nothing", "these", {"concept": "digits", "promotes_concept": expression})
    others = told(bench.catalogue)
    (found,) = scores(bench, "logits", [right], concepts, others=others)
    assert (found.value, found.n) == (1.0, 20)
    assert found.detail["controls"]["shuffled"]["value"] < 1 and found.detail["controls"]["always_yes"]["value"] == 0.5
    (fires_on,) = scores(bench, "logits", [replace(right, promotes="")], concepts, others=others)
    assert fires_on.value < 1  # judged by what it fires on, for want of other words
    (constant,) = scores(bench, "logits", [right], Constant(1.0), others=others)
    assert constant.value == 0.5


def test_too_few_tokens_are_no_exam(bench):
    assert logits.examine(bench, 3) is None


def test_effects_are_those_of_the_catalogue(bench):
    exam = causal.examine(bench, 2)
    assert exam is not None and len(exam) >= 2 * causal.LEAST
    places = [(p.document, p.first + p.marked[0]) for p in exam.passages]
    documents, positions = (np.array(column) for column in zip(*places, strict=True))
    rows = bench.catalogue.rows.index(documents, positions)
    values = np.array([bench.catalogue.index.dense(2, r, r + 1)[0] for r in rows.tolist()])
    assert np.allclose(values, exam.values) and (values > 0).all()
    effects = loss_effects(
        bench.lm, bench.catalogue.store, "mlp_act.0", bench.dictionary.directions,
        np.full(len(rows), 2), documents, positions, values,
    )  # fmt: skip
    assert np.allclose(effects, exam.truth, atol=1e-5)
    assert set(documents.tolist()) <= set(bench.catalogue.store.documents("test").tolist())


def planted(monkeypatch, effect):
    """Effects that are ``effect(document, position, value)`` instead of the model's."""

    def effects(lm, store, site, directions, features, documents, positions, values):
        return np.array(
            [effect(*at) for at in zip(documents.tolist(), positions.tolist(), values.tolist(), strict=True)]
        )

    monkeypatch.setattr(causal, "loss_effects", effects)


def test_words_on_what_comes_next_are_judged_by_the_next_token(bench, concepts, monkeypatch):
    store = bench.catalogue.store
    vowel = "token('a') | token('e') | token('i') | token('o')"

    def effect(document, position, value):
        found = concept(vowel).mask(store.document(document))
        return float(position + 1 < len(found) and found[position + 1])

    planted(monkeypatch, effect)
    words = {"concept": "in_docstring", "promotes_concept": vowel}
    given = [Explanation(0, "truth", "inside a docstring", "a vowel", words)]
    (found,) = scores(bench, "causal", given, concepts, others=[*given, Explanation(1, "other", "x", "digits", words)])
    assert found.value == 1 and found.detail["named"] >= causal.LEAST
    assert found.detail["difference"]["value"] == 1 and found.detail["effect_matched"]["value"] == 0
    wrong = [replace(given[0], detail={**words, "promotes_concept": "token('r') | token('s') | token('t')"})]
    (missed,) = scores(bench, "causal", wrong, concepts, others=given)
    assert missed.value < 0.5 and missed.detail["difference"]["value"] < 0


def test_strong_activations_do_not_pass_for_right_words(bench, concepts, monkeypatch):
    planted(monkeypatch, lambda document, position, value: value)
    exam = causal.examine(bench, 0)
    order = np.argsort(exam.values)
    halves = np.zeros(len(exam))
    halves[order[len(exam) // 2 :]] = 1  # named where it is strong
    alternate = np.zeros(len(exam))
    alternate[order[::2]] = 1  # named at every second place by value
    assert abs(causal.grade(exam, alternate, 0).estimate.value - 0.5) < 0.25
    grade = causal.grade(exam, alternate, 0)
    assert abs(grade.detail["difference"]["value"]) < 0.05 * exam.values.max()
    assert causal.grade(exam, halves, 0).estimate.value > 0.9  # nothing comparable is left to match with


def test_words_that_name_all_or_nothing_have_no_value(bench):
    for answer in (0.0, 1.0, np.nan):
        for s in scores(bench, "causal", told(bench.catalogue)[:2], Constant(answer)):
            assert s.value is None


def test_words_that_the_judge_cannot_use_are_not_judged(bench, concepts, few_tokens):
    given = [Explanation(3, "words", "digits", "verbs", {"concept": "digits"}), *told(bench.catalogue)[:1]]
    first, second = scores(bench, "logits", given, concepts)
    assert first.value is None and "cannot use" in first.detail["why"] and second.value is not None
