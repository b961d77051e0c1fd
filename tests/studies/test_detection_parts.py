"""The parts of fitting detectors, each against a closed form or brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.evaluate import binomial
from monoscope.interpret.probing import auroc
from monoscope.signals.direction import Direction
from monoscope.studies.detection import choosing, examples, features, judging, thresholds, words
from monoscope.studies.detection.detector import Aggregated, Detector, Part
from monoscope.studies.detection.examples import Example
from monoscope.types import Code
from monoscope.watch.monitor import Monitor
from monoscope.watch.rules import Rule, Rules, Signal

few = st.integers(0, 4).map(float)


@given(st.integers(20, 3000), st.sampled_from([0.01, 0.05, 0.2]))
def test_the_promise_is_the_most_that_keeps_the_rate(n, fpr):
    if n < thresholds.needed(fpr):
        with pytest.raises(MonoscopeError, match="smallest that they can"):
            thresholds.promise(fpr, n)
        return
    found = thresholds.promise(fpr, n)
    # the rate above the threshold is Beta(k + 1, n − k): it exceeds fpr as often as k or fewer of n are above fpr
    assert binomial.at_most(found.allowed, n, fpr) <= 0.05 * (1 + 1e-9) < binomial.at_most(found.allowed + 1, n, fpr)
    assert found.bound <= fpr


@pytest.mark.parametrize("n", [14, 59, 299, 1000])
def test_the_smallest_rate_is_what_so_many_negatives_need(n):
    least = thresholds.smallest(n)
    assert least == pytest.approx(binomial.upper(0, n, 0.95), rel=1e-9)
    assert thresholds.needed(least * (1 + 1e-9)) == n
    assert thresholds.promise(least * (1 + 1e-9), n).allowed == 0


def test_thresholds_keep_their_promise_in_95_of_100_draws():
    rng, promised = np.random.default_rng(0), thresholds.promise(0.05, 150)
    rates = np.array([1 - thresholds.threshold(rng.random(150), promised) for _ in range(4000)])  # of uniform scores
    expected = binomial.at_most(promised.allowed, 150, 0.05)
    assert (rates > 0.05).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000))
    assert expected <= 0.05


@given(st.lists(few, min_size=100, max_size=100))
def test_ties_never_raise_more_alarms_than_are_allowed(scores):
    promised = thresholds.promise(0.05, 100)
    assert (np.array(scores) > thresholds.threshold(np.array(scores), promised)).sum() <= promised.allowed


@pytest.mark.parametrize("fpr", [0, 1, -0.5, 2])
def test_no_rate_is_refused(fpr):
    with pytest.raises(MonoscopeError, match="false-positive rate of"):
        thresholds.promise(fpr, 1000)


scored = st.lists(st.tuples(few, st.booleans()), min_size=4, max_size=40).filter(
    lambda s: 0 < sum(y for _, y in s) < len(s)
)


@settings(deadline=None)
@given(scored, st.sampled_from([0.02, 0.05, 0.3]))
def test_merit_is_the_rank_formula_and_the_area_at_few_alarms(pairs, fpr):
    scores, labels = np.array([s for s, _ in pairs]), np.array([y for _, y in pairs])
    wins = scores[labels][:, None] > scores[~labels]
    ties = scores[labels][:, None] == scores[~labels]
    area = (wins + ties / 2).mean()
    most = min(1.0, choosing.WIDE * fpr)
    corners = judging.curve(scores, labels)
    assert np.trapezoid(corners[:, 1], corners[:, 0]) == pytest.approx(area)
    assert auroc(scores, labels, np.ones((1, len(labels))), np.arange(len(labels)))[0] == pytest.approx(area)
    x = np.unique(np.concatenate([corners[:, 0][corners[:, 0] < most], [most]]))
    last = np.array([corners[corners[:, 0] == v, 1].max() for v in np.unique(corners[:, 0])])
    first = np.array([corners[corners[:, 0] == v, 1].min() for v in np.unique(corners[:, 0])])
    ends = np.unique(corners[:, 0])
    part = 0.0
    for a, b in pairwise(x):
        i = np.flatnonzero(ends <= a)[-1]
        slope = (first[i + 1] - last[i]) / (ends[i + 1] - ends[i])
        part += (b - a) * (last[i] + slope * (a - ends[i]) + last[i] + slope * (b - ends[i])) / 2
    found = choosing.merit(np.stack([scores, -scores], 1), labels, fpr)
    assert found[0] == pytest.approx((area + part / most) / 2)


def test_judged_numbers_are_counts_with_exact_intervals():
    scores, labels = np.array([3.0, 1, 2, 0, 2, 5]), np.array([True, True, False, False, False, True])
    found = judging.judge(scores, labels, 1.5, seed=0)
    assert (found.recall.value, found.fpr.value) == (2 / 3, 2 / 3)
    assert found.recall == binomial.rate(2, 3)
    assert found.auc.value == pytest.approx((3 + 1 + 3) / 9)
    assert found.caught.value == pytest.approx(2 / 3)
    gap = judging.differences({"a": found, "b": judging.judge(-scores, labels, 0.0, seed=0)}, "a", ["b"])["b"]
    assert gap["auc"].value == pytest.approx(14 / 9 - 1)


@settings(deadline=None)
@given(st.data())
def test_a_rule_is_raised_just_where_the_score_exceeds_the_threshold(data):
    n = data.draw(st.integers(1, 3))
    join = data.draw(st.sampled_from(["any", "all"]))
    counted = (
        [Aggregated("max")]
        if join == "all"
        else [Aggregated("token"), Aggregated("ema", {"half_life": 2.0}), Aggregated("mean")]
    )
    chosen = [data.draw(st.sampled_from(counted)) for _ in range(n)]
    scales = [data.draw(st.sampled_from([0.3, 1.0, 7.0])) for _ in range(n)]
    made = tuple(
        Part(f"s{i}", c, "embed", s, "dictionary", i) for i, (c, s) in enumerate(zip(chosen, scales, strict=True))
    )
    detector = Detector("d", made, join)
    rows = st.lists(st.lists(st.floats(0, 9, width=16), min_size=n, max_size=n), min_size=1, max_size=8)
    texts = [np.array(data.draw(rows)) for _ in range(4)]
    scores = detector.scores(texts, {p.name: i for i, p in enumerate(made)})
    for limit in (scores[0], np.median(scores), 0.0):  # a score is put there as thresholds are: a little above
        threshold = float(limit + thresholds.ABOVE * abs(limit))
        signals = tuple(Signal(p.name, Direction("dictionary", p.feature), "embed") for p in made)
        rules = Rules(signals, (Rule("d", detector.condition(threshold)),))
        raised = [any(e.kind == "raised" for e in Monitor(rules).step(text)) for text in texts]
        far = np.abs(scores - threshold) > 1e-9 * abs(threshold)  # nearer than a division and a product can tell
        assert np.array_equal(np.array(raised)[far], (scores > threshold)[far])
        assert not raised[0] or limit < scores[0]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_pooled_features_are_what_monitors_would_see(seed):
    rng = np.random.default_rng(seed)
    dense = rng.random((23, 6)).round(2) * (rng.random((23, 6)) < 0.4)
    offsets, labels = np.array([0, 5, 6, 6 + 9, 23]), np.array([True, False, True, False])
    found = features.pool(Code.from_dense(torch.from_numpy(dense).float()), offsets, labels, 0.1)
    live = dense[np.repeat(labels, np.diff(offsets))].any(0)
    assert np.array_equal(found.features, np.flatnonzero(live))
    for way, counted in enumerate(features.WAYS):
        for text in range(4):
            for place, feature in enumerate(found.features):
                column = dense[offsets[text] : offsets[text + 1], feature].astype(np.float32)
                assert found.reached[way, text, place] == pytest.approx(counted.largest(column), rel=1e-5, abs=1e-6)
    assert (found.scale > 0).all()


def test_one_feature_among_many_is_found_and_named():
    rng = np.random.default_rng(1)
    labels = rng.random(120) < 0.4
    dense = rng.random((1200, 40)) * (rng.random((1200, 40)) < 0.1)
    dense[:, 17] = 0
    dense[np.flatnonzero(labels) * 10 + 3, 17] = 2.0  # once in every positive text
    grown = features._grow(
        features.pool(Code.from_dense(torch.from_numpy(dense).float()), np.arange(0, 1201, 10), labels, 0.05),
        labels,
        0.05,
        "any",
    )
    assert grown[0] == [(0, 17)] or grown[0] == [(1, 17)]
    assert grown[2] == pytest.approx(1.0)


def test_two_features_are_joined_where_each_finds_half():
    labels = np.arange(120) < 60
    reached = np.zeros((2, 120, 3), np.float32)
    reached[:, :30, 0] = reached[:, 30:60, 1] = 1.0
    reached[:, ::2, 2] = 1.0
    pooled = features.Pooled(np.array([4, 8, 9]), reached, np.ones((2, 3), np.float32))
    chosen, _, merit = features._grow(pooled, labels, 0.05, "any")
    assert {place for _, place in chosen} == {0, 1}
    assert merit == pytest.approx(1.0)
    both = np.zeros((2, 120, 2), np.float32)
    both[:, :90, 0] = both[:, np.r_[:60, 90:120], 1] = 1.0  # on all positives and on half of the negatives each
    chosen, _, merit = features._grow(features.Pooled(np.array([1, 2]), both, np.ones((2, 2))), labels, 0.05, "all")
    assert {place for _, place in chosen} == {0, 1}
    assert merit == pytest.approx(1.0)


def test_odds_are_ratios_of_smoothed_shares():
    texts, labels = [np.array([0, 1, 1]), np.array([2, 2]), np.array([1])], np.array([True, False, True])
    found = words.odds(texts, labels, 3)
    positive, negative = np.array([1.5, 3.5, 0.5]) / 5.5, np.array([0.5, 0.5, 2.5]) / 3.5
    assert found == pytest.approx(np.log(positive / negative))


def code(i: int, extra: str = "") -> str:
    """A text that shares no line with another."""
    return "\n".join(f"value_{i}_{j} = compute(thing_{i}, {i * 31 + j}){extra}" for j in range(12))


def test_what_belongs_together_is_never_on_two_sides():
    texts = [Example(code(i), i % 2 == 0) for i in range(200)]
    texts += [Example(code(i) + "\nmore = 1", i % 2 == 1) for i in range(0, 200, 3)]  # near-duplicates, other label
    texts += [Example(code(1000 + i), i % 2 == 0, document=f"d{i // 6}") for i in range(120)]
    parts = examples.split(texts)
    sides: dict[str, set[str]] = {}
    for name, part in parts.items():
        for e in part.examples:
            key = e.document or e.text.split("\n")[0]
            sides.setdefault(key, set()).add(name)
    assert all(len(where) == 1 for where in sides.values())
    for name in (examples.CALIBRATE, examples.TEST):
        pairs = [(c, e.label) for c, e in zip(parts[name].clusters.tolist(), parts[name].examples, strict=True)]
        assert len(pairs) == len(set(pairs))


def test_a_text_stays_where_it_is_when_others_come():
    texts = [Example(code(i), i % 2 == 0) for i in range(160)]
    before, after = examples.split(texts), examples.split([Example(code(900 + i), True) for i in range(40)] + texts)
    for name, part in before.items():
        assert set(part.examples) <= set(after[name].examples)


def test_folds_keep_clusters_whole_and_have_positives():
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(0, 30, 200), rng.random(200) < 0.1
    folds = choosing.folds(clusters, labels, 0)
    assert all(len(set(folds[clusters == c])) == 1 for c in np.unique(clusters))
    assert all(labels[folds == f].any() for f in range(choosing.FOLDS))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no JSON"),
        ('{"label": true}', "no text"),
        ('{"text": "a", "label": "yes"}', "the label is 'yes'"),
        ('{"text": "abc", "label": 1, "spans": [[2, 9]]}', "the spans are"),
        ('{"text": "abc", "label": 1, "document": 3}', "the document is 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, said):
    (tmp_path / "x.jsonl").write_text('{"text": "good", "label": false}\n' + line + "\n")
    with pytest.raises(MonoscopeError, match="line 2") as caught:
        examples.load(tmp_path / "x.jsonl")
    assert said in str(caught.value)


def test_lines_are_read(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "héllo", "label": 1, "spans": [[1, 3]], "document": "d"}\n\n')
    assert examples.load(tmp_path / "x.jsonl") == [Example("héllo", True, ((1, 3),), "d")]


def test_too_few_examples_are_refused():
    with pytest.raises(MonoscopeError, match="labelled true"):
        examples.split([Example(code(i), i == 0) for i in range(60)])
    copies = [Example(code(0) + f"\nmore = {i}", True) for i in range(60)]
    with pytest.raises(MonoscopeError, match="labelled true"):
        examples.split(copies + [Example(code(i), False) for i in range(200, 300)])
    with pytest.raises(MonoscopeError, match="no examples"):
        examples.split([])
