"""What holds for every scorer that judges words: over planted features, with judges that are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from score_world import PLANTED, UNTOLD, Constant, Guessing, told, world

from monoscope.catalogue.explanations import Explanation
from monoscope.errors import MonoscopeError
from monoscope.interpret import scoring
from monoscope.interpret.judges.concept import Concepts
from monoscope.interpret.scorers import detection, fuzzing
from monoscope.interpret.scorers._bench import Bench, Span, is_quiet
from monoscope.interpret.scorers._unigram import best_set

JUDGED = [name for name in scoring.names() if not (scoring.load(name).MODEL or scoring.load(name).JUDGE)]
JUDGED = [name for name in JUDGED if scoring.load(name).CLAIM]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    return world(tmp_path_factory.mktemp("scored"))


@pytest.fixture
def bench(catalogue):
    return Bench(catalogue, width=12)


@pytest.fixture(scope="module")
def concepts(catalogue):
    return Concepts(catalogue.store)


def scores(bench, name, given, judge, **options):
    return [s for part in scoring.score(bench, name, given, judge, **options) for s in part]


def controls(found, name):
    return [s.detail["controls"][name]["value"] for s in found]


@pytest.mark.parametrize("name", JUDGED)
def test_the_truth_beats_chance_and_the_words_of_others(bench, concepts, name):
    found = scores(bench, name, told(bench.catalogue), concepts)
    chance = scoring.load(name).CHANCE
    assert [s.feature for s in found] == list(range(len(PLANTED)))
    for s in found:
        assert s.value is not None and s.low <= s.value <= s.high and s.n > 0
        assert s.value > 0.6 and s.value > s.detail["controls"]["shuffled"]["value"]
        if not name.startswith("simulation"):  # ranks of graded values are not all told by yes and no
            assert s.value == 1
        for constant in scoring.load(name).CONSTANTS:
            assert s.detail["controls"][constant]["value"] == chance
    tokens = [i for i, e in enumerate(PLANTED) if e.startswith("token")]
    assert all(controls(found, "unigram")[i] == found[i].value for i in tokens)
    assert controls(found, "unigram")[0] < found[0].value  # a docstring is no set of letters


@pytest.mark.parametrize("name", JUDGED)
def test_who_guesses_is_worth_chance(bench, name):
    chance = scoring.load(name).CHANCE
    found = scores(bench, name, told(bench.catalogue), Guessing())
    within = [s.low <= chance <= s.high for s in found]
    assert sum(within) >= len(found) - 1 and all(abs(s.value - chance) < 0.25 for s in found)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_constant_judge_is_worth_chance(bench, name, answer):
    for s in scores(bench, name, told(bench.catalogue), Constant(answer)):
        assert (s.value, s.low, s.high) == (scoring.load(name).CHANCE,) * 3


@pytest.mark.parametrize("name", JUDGED)
def test_no_answer_is_neither_right_nor_wrong(bench, name):
    for s in scores(bench, name, told(bench.catalogue), Constant(np.nan)):
        assert s.value is None and s.n == 0 and s.detail["unanswered"] > 0


def test_what_was_not_answered_is_counted(bench, concepts):
    class Sleepy(Concepts):
        def contains(self, questions):
            answers = super().contains(questions)
            return [np.where(np.arange(len(a)) < 3, np.nan, a) for a in answers]

    found = scores(bench, "detection", told(bench.catalogue), Sleepy(bench.catalogue.store))
    assert all(s.detail["unanswered"] == 3 and s.value == 1 for s in found)
    assert all(s.n + 3 == s.detail["active"] + s.detail["quiet"] for s in found)


@pytest.mark.parametrize("name", JUDGED)
def test_a_seed_fixes_everything(bench, concepts, name):
    given = told(bench.catalogue)
    assert scores(bench, name, given, concepts) == scores(bench, name, given, concepts)
    other = scores(replace(bench, seed=1), name, given, concepts)
    assert [s.detail["key"] for s in other] != [s.detail["key"] for s in scores(bench, name, given, concepts)]


@pytest.mark.parametrize("name", JUDGED)
def test_what_exists_is_not_asked_again(bench, concepts, name):
    given, catalogue = told(bench.catalogue), bench.catalogue
    assert scoring.pending(bench, name, given, concepts) == given
    catalogue.write_scores(scores(bench, name, given[:2], concepts))
    assert scoring.pending(bench, name, given, concepts) == given[2:]
    reworded = replace(given[0], detail={"concept": "digits"})
    assert scoring.pending(bench, name, [reworded, given[1]], concepts) == [reworded]
    assert scoring.pending(bench, name, given, Constant(1.0)) == given
    assert scoring.pending(replace(bench, seed=3), name, given, concepts) == given
    catalogue.write_scores(scores(bench, name, given, Constant(np.nan)))
    assert scoring.pending(bench, name, given, Constant(np.nan)) == given


@pytest.mark.parametrize("name", scoring.names())
def test_explanations_of_another_catalogue_are_refused(bench, concepts, name):
    for wrong in (Explanation(48, "x", "y"), Explanation(0, "x", "y", detail={"catalogue": "of another"})):
        with pytest.raises(MonoscopeError, match="of another catalogue"):
            scores(bench, name, [wrong], concepts)
    with pytest.raises(MonoscopeError, match="never fires"):
        scores(bench, name, [Explanation(40, "x", "y")], concepts)


def test_a_feature_that_hardly_fires_has_no_score(bench, concepts):
    (found,) = scores(bench, "detection", [Explanation(UNTOLD, "x", "y", detail={"concept": "digits"})], concepts)
    assert (found.value, found.n) == (None, 0) and "too few" in found.detail["why"]


@pytest.mark.parametrize("feature", range(len(PLANTED)))
def test_exams_are_of_test_documents_and_quiet_means_quiet(bench, feature):
    rows, index = bench.catalogue.rows, bench.catalogue.index
    test = set(bench.catalogue.store.documents("test").tolist())
    for exam in (detection.examine(bench, feature), fuzzing.examine(bench, feature)):
        assert exam is not None and set(exam.documents.tolist()) <= test
        for passage, group in zip(exam.passages, exam.groups, strict=True):
            first = int(rows.index(np.array([passage.document]), np.array([passage.first]))[0])
            values = index.dense(feature, first, first + len(passage))
            assert (values > 0).any() == (not group.startswith("quiet"))
            assert "".join(passage.texts) == _text(bench, passage)
            if exam.groups is not None and passage.marked:
                marked = values[list(passage.marked)] > 0
                assert marked.all() if group.isdigit() else not marked.any()
                assert not group.isdigit() or len(passage.marked) == (values > 0).sum()


def _text(bench, passage):
    excerpt = bench.catalogue.excerpt(passage.document, passage.first, 0, len(passage) - 1)
    return "".join(token.text for token in excerpt)


def test_passages_do_not_overlap(bench):
    exam = detection.examine(bench, 0)
    spans = sorted((p.document, p.first, p.first + len(p)) for p in exam.passages)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(spans))


def test_documents_that_an_explainer_saw_are_not_scored_on(bench):
    seen = bench.catalogue.store.documents("test").tolist()[:2]
    given = [replace(told(bench.catalogue)[0], detail={"concept": "in_docstring", "documents": seen})]
    barred = replace(bench, barred=scoring.documents_shown(given))
    exam = detection.examine(barred, 0)
    assert exam is not None and not set(exam.documents.tolist()) & set(seen)
    everything = frozenset(bench.catalogue.store.documents("test").tolist())
    with pytest.raises(MonoscopeError, match="no document"):
        detection.examine(replace(bench, barred=everything), 0)


def test_a_stray_value_makes_a_passage_loud(bench):
    rows, _ = bench.firings(0)
    assert not is_quiet(bench, 0, Span(int(rows[0]), int(rows[0]) + 1))


def test_the_best_set_of_tokens_is_the_best():
    rng = np.random.default_rng(0)
    for _ in range(20):
        occurrences = rng.integers(1, 30, 11)
        hits = rng.binomial(occurrences, rng.random(11))
        f1 = lambda chosen: 2 * hits[chosen].sum() / max(1, occurrences[chosen].sum() + hits.sum())  # noqa: B023, E731
        best = max(f1(list(c)) for n in range(1, 9) for c in combinations(range(11), n))
        assert f1(best_set(hits, occurrences)) == pytest.approx(best)
    assert len(best_set(np.zeros(5, int), np.ones(5, int))) == 0


def test_labels_are_explanations(catalogue):
    from monoscope.catalogue.records import Label

    catalogue.write_labels([Label(2, "token", "digits", "a digit", 0.1, 1, 1, 1, 1, 1, 1, 9, 9)])
    (found,) = scoring.explanations(catalogue)
    assert (found.feature, found.explainer, found.fires_on) == (2, "concepts", "a digit")
    assert found.detail == {"concept": "digits", "kind": "token"}
    with pytest.raises(MonoscopeError, match="nobody"):
        scoring.explanations(catalogue, "nobody")


def test_a_feature_may_count_as_firing_above_a_share_of_its_maximum(bench):
    rows, values = bench.firings(0)
    high, above = replace(bench, above=0.75).firings(0)
    assert 0 < len(high) < len(rows) and above.min() > 0.75 * bench.catalogue.index.of(0)[1].max()
    assert np.array_equal(high, rows[values > 0.75 * bench.catalogue.index.of(0)[1].max()])
