"""The paper's own evaluation: distributions over features, those without words included, beside controls."""

from __future__ import annotations

import io
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "interpret"))

from score_world import PLANTED, told, world

from monoscope.app import control_catalogues, paper, scoring_table
from monoscope.app.paper import Distribution, Feature, Paper
from monoscope.catalogue.records import Label
from monoscope.interpret.judges.concept import Concepts
from monoscope.interpret.scorers import _intervals as intervals
from monoscope.interpret.scorers._bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(world(tmp_path_factory.mktemp("run")))


def test_a_distribution_is_its_quartiles_and_intervals() -> None:
    made = Distribution.of(list(range(101)), 0)
    assert made is not None and made.n == 101 and made.quartiles == (25, 50, 75)
    assert made.mean.value == 50 and made.median.value == 50
    spread = 1.96 * np.std(range(101)) / np.sqrt(101)
    assert made.mean.high - made.mean.low == pytest.approx(2 * spread, rel=0.15)
    assert made.median.low < 50 < made.median.high and Distribution.of([], 0) is None


def test_neurons_as_a_dictionary_are_the_positive_parts() -> None:
    x = torch.randn(20, 7)
    made = control_catalogues.as_dictionary(7, np.array([1, 4, 6]))
    assert torch.equal(made.encode(x).to_dense(), x[:, [1, 4, 6]].clamp_min(0))
    assert torch.equal(made.directions, torch.eye(7)[[1, 4, 6]])


def test_examples_are_the_papers(bench: Bench) -> None:
    found = intervals.spans(bench, 0, intervals.SCORED, np.random.default_rng(0))
    rows, values = bench.firings(0)
    where = {span.marks[0]: span.group for span in found}
    value = dict(zip(rows.tolist(), values.tolist(), strict=True))
    counts = {group: list(where.values()).count(group) for group in set(where.values())}
    assert counts[intervals.TOP] == 6 and counts[intervals.ELSEWHERE] <= 20 and counts[intervals.ANY] <= 10
    most = values.max()
    for row, group in where.items():
        if group.isdigit():
            assert np.ceil(value[row] / most * 13) == int(group) < 13
    tops = [value[row] for row, group in where.items() if group == intervals.TOP]
    assert min(tops) > 0.9 * most
    top_tokens = {bench.tokens[row] for row, group in where.items() if group == intervals.TOP}
    assert all(bench.tokens[row] in top_tokens for row, group in where.items() if group == intervals.ELSEWHERE)
    assert all(span.last - span.first == 9 for span in found)
    spans = sorted((span.first, span.last) for span in found)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_importance_gives_the_sample_the_distribution_of_the_text(bench: Bench) -> None:
    rng = np.random.default_rng(1)
    rows, values = bench.firings(0)
    truth = np.concatenate([rng.choice(values, 200), np.zeros(300)])
    weights = intervals.importance(bench, 0, truth)
    most = float(values.max())
    for i in range(14):
        asked = intervals.interval_of(truth, most) == i
        here = (intervals.interval_of(values, most) == i).sum() if i else len(bench.places) - len(rows)
        assert not asked.any() or weights[asked].sum() == pytest.approx(here)


def test_intervals_are_of_equal_width() -> None:
    values = np.array([0, -1, 1e-9, 1, 1.001, 12.99, 13], np.float32)
    assert intervals.interval_of(values, 13.0).tolist() == [0, 0, 1, 1, 2, 13, 13]


def test_a_feature_without_words_is_worth_0(bench: Bench) -> None:
    catalogue = bench.catalogue
    catalogue.write_labels([label(e.feature, e.detail["concept"]) for e in told(catalogue) if e.feature != 1])
    found = paper._scored(catalogue, "concepts", Concepts(catalogue.store), "features", 50, 0)
    assert [f.id for f in found] == list(range(len(PLANTED)))  # the one that hardly fires is not among them
    assert found[1].values["value"] == 0 and "without_words" in found[1].groups and found[1].words == ""
    assert all(f.values["value"] > 0.6 for f in found if f.id != 1)
    groups = paper._distributions(found, 0)
    assert groups["all"]["value"].n == len(PLANTED) and groups["without_words"]["value"].n == 1
    assert groups["all"]["shuffled"].n == len(PLANTED) - 1  # there are no words to take another's for
    assert groups["all"]["unigram"].n == len(PLANTED) and found[1].values["unigram"] > 0.6
    assert set(groups) == {"all", "not_single_token", "label_context", "without_words"}  # those that have members


def test_of_other_explainers_those_are_sampled_that_they_explained(bench: Bench) -> None:
    bench.catalogue.write_explanations(told(bench.catalogue)[2:4])
    found = paper._scored(bench.catalogue, "truth", Concepts(bench.catalogue.store), "features", 50, 0)
    assert [f.id for f in found] == [2, 3] and all(f.words.startswith("in words") for f in found)


def label(feature: int, concept: str) -> Label:
    return Label(feature, "context", concept, f"in words: {concept}", 0.1, 0.9, 0.9, 0.9, 0.8, 1, 0.2, 80, 14)


def test_it_is_shown_and_drawn(tmp_path: Path) -> None:
    values = {name: 0.5 for name in paper.VALUES}
    some = [Feature(i, "w", ("all", "single_token" if i % 2 else "not_single_token"), values) for i in range(4)]
    made = Paper({"features": some}, {"features": paper._distributions(some, 0)}, {"scorer": paper.SCORER})
    stream = io.StringIO()
    scoring_table.print_paper(made, Console(file=stream, width=80))
    assert all(
        word in stream.getvalue()
        for word in ("features", "single token", "quartiles", "0.50 0.50 0.50", "±0.00", "unigram")
    )
    json.dumps(made.to_json(), allow_nan=False)
    pytest.importorskip("matplotlib")
    paper.plot(made, tmp_path / "paper.svg")
    assert "<svg" in (tmp_path / "paper.svg").read_text()
