"""Labels, from text to words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from interpret_world import Catalogue, indexed, planted, programs

from monoscope.concepts import compile_bits, concept
from monoscope.errors import MonoscopeError
from monoscope.interpret import evidence
from monoscope.interpret.explainers import concepts as explainer

PLANTED = [
    "in_docstring",
    "token('return')",
    "keyword_name",
    "letters & in_signature",
    "token(' data') & ~in_docstring",
]


@pytest.fixture(scope="module")
def rows():
    return programs()


@pytest.fixture(scope="module")
def bits(rows):
    return compile_bits(rows)


def mask_of(expression, rows):
    return np.concatenate([concept(expression).mask(rows.store.document(d)) for d in rows.documents])


@pytest.fixture(scope="module")
def catalogue(rows):
    rng = np.random.default_rng(3)
    return Catalogue(
        rows, indexed([planted(mask_of(e, rows), rng) for e in PLANTED] + [(np.array([5]), np.array([1.0]))])
    )


def test_planted_concepts_are_recovered(catalogue, bits):
    labels = explainer.explain(catalogue, bits)
    assert [label.feature for label in labels] == list(range(len(PLANTED)))  # the last fires once: no label
    assert [label.kind for label in labels] == ["context", "token", "context", "context", "context"]
    for label, expression in zip(labels, PLANTED, strict=True):
        found, true = mask_of(label.concept, catalogue.rows), mask_of(expression, catalogue.rows)
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.95, label.concept
        assert label.f1 > 0.85


def test_anyone_can_recompute_a_label(catalogue, bits):
    fit, test = catalogue.rows.in_split("fit"), catalogue.rows.in_split("test")
    for label in explainer.explain(catalogue, bits):
        part = slice(*catalogue.index.offsets[label.feature : label.feature + 2])
        values = np.zeros(len(catalogue.rows))
        values[catalogue.index.rows[part]] = catalogue.index.values[part]
        on = values > label.threshold * values[fit].max()
        claim = mask_of(label.concept, catalogue.rows)
        hits = (on & claim & test).sum()
        assert label.precision == pytest.approx(hits / (claim & test).sum())
        assert label.recall == pytest.approx(hits / (on & test).sum())
        assert label.f1 == pytest.approx(2 * hits / ((on & test).sum() + (claim & test).sum()))
        assert label.support == (on & test).sum()
        assert label.f1_low <= label.f1 <= label.f1_high


def test_test_rows_do_not_choose(catalogue, bits, monkeypatch):
    monkeypatch.setattr(explainer, "MARGIN", -1.0)
    monkeypatch.setattr(explainer, "LEAST_SUPPORT", 0)
    monkeypatch.setattr(explainer, "LEAST_DOCUMENTS", 0)
    before = explainer.explain(catalogue, bits)
    rng = np.random.default_rng(0)
    test = np.flatnonzero(catalogue.rows.in_split("test"))
    features = []
    for f in range(len(PLANTED)):
        part = slice(*catalogue.index.offsets[f : f + 2])
        fit = catalogue.rows.in_split("fit")[catalogue.index.rows[part]]
        other = np.sort(rng.choice(test, 300, replace=False))
        features.append(
            (
                np.concatenate([catalogue.index.rows[part][fit], other]),
                np.concatenate([catalogue.index.values[part][fit], rng.uniform(0, 9, 300)]),
            )
        )
    words = bits.words.copy()
    words[test] = rng.permutation(words[test])
    after = explainer.explain(Catalogue(catalogue.rows, indexed(features)), replace(bits, words=words))
    assert [(a.concept, a.threshold) for a in after] == [(b.concept, b.threshold) for b in before]
    assert max(a.f1 for a in after) < min(b.f1 for b in before)


def test_shuffled_activations_yield_next_to_nothing(catalogue, bits):
    found = explainer.counts(explainer.shuffled(catalogue, bits))
    assert found == {"token": {0.5: 0, 0.8: 0}, "context": {0.5: 0, 0.8: 0}}
    real = explainer.counts(explainer.explain(catalogue, bits))
    assert real == {"token": {0.5: 1, 0.8: 1}, "context": {0.5: 4, 0.8: 4}}


def test_being_on_at_most_tokens_is_no_context(rows, bits):
    often = np.flatnonzero(np.random.default_rng(2).random(len(rows)) < 0.6)
    label, *others = explainer.explain(Catalogue(rows, indexed([(often, np.ones(len(often)))])), bits)
    assert not others and label.kind == "token"


def test_a_text_that_stands_in_every_file_is_one_surrounding(rows, bits, monkeypatch):
    where = mask_of("in_docstring", rows)
    planted_one = Catalogue(rows, indexed([planted(where, np.random.default_rng(3))]))
    assert [label.kind for label in explainer.explain(planted_one, bits)] == ["context"]
    monkeypatch.setattr(evidence, "surroundings", lambda tokens, documents: np.zeros(len(tokens), np.uint64))
    assert [label.kind for label in explainer.explain(planted_one, bits)] == ["token"]


def test_shuffling_keeps_values_and_splits(catalogue, bits):
    number = np.where(catalogue.rows.in_split("fit"), np.arange(len(catalogue.rows)), -1)
    features = range(len(PLANTED))
    still = explainer._entries(catalogue.index, features, number, lambda f, n: 0)
    moved = explainer._entries(catalogue.index, features, number, lambda f, n: 7)
    assert np.array_equal(still.offsets, moved.offsets)
    assert np.array_equal(still.values, moved.values)
    assert np.array_equal((still.rows + 7) % (number.max() + 1), moved.rows)


def test_the_same_seed_gives_the_same_labels(catalogue, bits):
    assert explainer.explain(catalogue, bits, seed=2) == explainer.explain(catalogue, bits, seed=2)


def test_a_document_may_not_choose_and_try(catalogue, bits):
    with pytest.raises(MonoscopeError, match="same document"):
        explainer.explain(catalogue, replace(bits, slots=np.zeros_like(bits.slots)))


def test_bits_of_other_rows_are_refused(catalogue, bits):
    with pytest.raises(MonoscopeError, match="compiled over"):
        explainer.explain(catalogue, replace(bits, words=bits.words[:5]))
