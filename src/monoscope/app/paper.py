"""Towards Monosemanticity's automated interpretability in one go: features beside neurons beside shuffled weights.

Every subject's features (those that fire on test text, a sample of them) get the scorer ``simulation_2023``. A feature
that the search for labels found no words for predicts nothing and is worth 0, as a constant prediction is; leaving it
out would flatter whoever explains few. Features that fire on one token only score well everywhere, those of shuffled
weights included, so they are told apart, as in the paper: *single-token* is a feature whose 20 strongest examples are
all on one token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from monoscope import folder
from monoscope.app import control_catalogues, frontiers, scoring
from monoscope.app.run import Run
from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.records import FeatureRecord
from monoscope.catalogue.statistics import TOP
from monoscope.catalogue.store import Catalogue
from monoscope.evaluate.intervals import LEVEL, RESAMPLES, Estimate
from monoscope.interpret import scoring as core
from monoscope.interpret.judges import Judge, Silent
from monoscope.interpret.scorers._bench import Bench

SCORER = "simulation_2023"
RESULT, FIGURE = "paper.json", "paper.svg"
FEATURES = "features"
SAMPLE = 400  # features of each subject when no one says how many
GROUPS = ("all", "single_token", "not_single_token")
VALUES = ("value", "importance", core.SHUFFLED, core.UNIGRAM)


@dataclass(frozen=True)
class Feature:
    """One feature's result: its values by name, and which groups it is in. ``words`` is "" where there were none."""

    id: int
    words: str
    groups: tuple[str, ...]
    values: dict[str, float]


@dataclass(frozen=True)
class Distribution:
    """Quartiles and mean of a value over features, with intervals (over resampled features) of median and mean."""

    n: int
    quartiles: tuple[float, float, float]
    median: Estimate
    mean: Estimate

    @classmethod
    def of(cls, values: Sequence[float], seed: int) -> Distribution | None:
        """The distribution of some values; None of none."""
        if not len(values):
            return None
        found = np.asarray(values, dtype=np.float64)
        drawn = found[np.random.default_rng(seed).integers(0, len(found), (RESAMPLES, len(found)))]
        low, middle, high = np.quantile(found, [0.25, 0.5, 0.75]).tolist()
        return cls(
            len(found), (low, middle, high), _estimate(middle, np.median(drawn, axis=1)),
            _estimate(float(found.mean()), drawn.mean(1)),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As numbers."""
        return {
            "n": self.n,
            "quartiles": list(self.quartiles),
            "median": self.median.to_json(),
            "mean": self.mean.to_json(),
        }


def _estimate(value: float, drawn: Float[np.ndarray, " n"]) -> Estimate:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


@dataclass(frozen=True)
class Paper:
    """Every subject's features, and their distributions: ``found[subject][group][value]``."""

    features: dict[str, list[Feature]]
    found: dict[str, dict[str, dict[str, Distribution]]]
    facts: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Facts, distributions, and each feature's value."""
        distributions = {
            subject: {g: {v: d.to_json() for v, d in values.items()} for g, values in groups.items()}
            for subject, groups in self.found.items()
        }
        values = {subject: {f.id: f.values["value"] for f in some} for subject, some in self.features.items()}
        return {**self.facts, "distributions": distributions, "values": values}


def evaluate(run: Run, explainer: str, judge: Judge, sample: int = SAMPLE, seed: int = 0) -> Paper:
    """Score all subjects that the explainer explained, and write ``paper.json`` and, with matplotlib, ``paper.svg``.

    The neurons' catalogue is built and labelled first where it is missing and labels are what is scored.
    """
    subjects = _subjects(run, explainer)
    features = {name: _scored(made, explainer, judge, name, sample, seed) for name, made in subjects.items()}
    found = {name: _distributions(some, seed) for name, some in features.items()}
    facts = {
        "scorer": SCORER, "explainer": explainer, "judge": judge.name, "model": run.plan.model, "site": run.plan.site,
        "seed": seed, "test_tokens": run.store.tokens_in("test"),
        "n_features": {name: len(made) for name, made in subjects.items()},
    }  # fmt: skip
    paper = Paper(features, found, facts)
    folder.write_json(run.path / RESULT, paper.to_json())
    if frontiers.available():
        plot(paper, run.path / FIGURE)
    return paper


def _subjects(run: Run, explainer: str) -> dict[str, Catalogue]:
    """The run's catalogue, and those of its controls that the explainer explained."""
    if explainer == core.CONCEPTS and run.plan.target is None:  # a transcoder has no neurons of its own
        control_catalogues.neurons(run)
    rivals = control_catalogues.existing(run)
    return {FEATURES: run.catalogue} | {name: made for name, made in rivals.items() if core.written(made, explainer)}


def _scored(catalogue: Catalogue, explainer: str, judge: Judge, name: str, sample: int, seed: int) -> list[Feature]:
    """A sample of the features that can be examined, scored.

    The search for labels looks at every feature, so one without a label is one without words; of any other explainer,
    which may have been asked about some features only, those that it explained are sampled.
    """
    bench, scorer = Bench(catalogue, seed), core.load(SCORER)
    given = core.explanations(catalogue, explainer)
    words = {e.feature: e for e in given if judge.fits(core.claim_of(e, "fires_on"))}
    asked = np.flatnonzero(catalogue.index.counts() > 0) if explainer == core.CONCEPTS else np.array(sorted(words))
    order = np.random.default_rng(seed).permutation(asked)
    some: list[int] = []
    for feature in order.tolist():
        if len(some) == sample:
            break
        if scorer.examine(bench, feature) is not None:
            some.append(feature)
    explained = [words[f] for f in sorted(some) if f in words]
    scores = scoring.finished(bench, SCORER, explained, list(words.values()), judge, name)
    wordless = [Explanation(f, explainer, "") for f in sorted(some) if f not in words]
    scores += [s for part in core.score(bench, SCORER, wordless, Silent(), others=()) for s in part]
    return [
        _feature(catalogue, s.feature, words.get(s.feature), _values(s.value, s.detail))
        for s in sorted(scores, key=lambda s: s.feature)
        if s.n  # 0 where the judge could not answer anything
    ]


def _values(value: float | None, detail: Mapping[str, Any]) -> dict[str, float]:
    """The values by name; what is not defined (every token asked about alike) is left out."""
    named = {
        "value": value,
        "importance": detail["importance"]["value"],
        **{c: detail["controls"].get(c, {}).get("value") for c in (core.SHUFFLED, core.UNIGRAM)},
    }
    return {name: v for name, v in named.items() if v is not None}


def _feature(catalogue: Catalogue, feature: int, explanation: Explanation | None, values: dict[str, float]) -> Feature:
    single = _single_token(catalogue, catalogue[feature])
    groups = ["all", "single_token" if single else "not_single_token"]
    kind = explanation.detail.get("kind") if explanation is not None else None
    groups += [f"label_{kind}"] if kind else []
    groups += ["without_words"] if explanation is None else []
    return Feature(feature, explanation.fires_on if explanation is not None else "", tuple(groups), values)


def _single_token(catalogue: Catalogue, record: FeatureRecord) -> bool:
    """Whether all of the strongest examples are on one token."""
    store = catalogue.store
    return len({int(store.tokens[store.token_offsets[e.document] + e.position]) for e in record.examples[TOP]}) == 1


def _distributions(features: Sequence[Feature], seed: int) -> dict[str, dict[str, Distribution]]:
    groups = dict.fromkeys([*GROUPS, *(g for f in features for g in f.groups)])
    found = {group: [f.values for f in features if group in f.groups] for group in groups}
    return {group: _by_value(members, seed) for group, members in found.items() if members}


def _by_value(members: Sequence[Mapping[str, float]], seed: int) -> dict[str, Distribution]:
    made = {name: Distribution.of([values[name] for values in members if name in values], seed) for name in VALUES}
    return {name: distribution for name, distribution in made.items() if distribution is not None}


def plot(paper: Paper, path: Path) -> None:
    """A histogram for each subject, single-token features and the others stacked."""
    from matplotlib.figure import Figure

    names = [name for name, some in paper.features.items() if some]
    figure = Figure(figsize=(8, 1.7 * len(names) + 0.6), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    edges = np.linspace(-0.25, 1, 26)
    for axis, name in zip(axes, names, strict=True):
        parts = [
            [f.values["value"] for f in paper.features[name] if (group in f.groups) and "value" in f.values]
            for group in ("single_token", "not_single_token")
        ]
        axis.hist(parts, edges, stacked=True, color=["#b9b3a7", "#2a7f8e"], label=["single-token", "others"])
        median = paper.found[name]["all"]["value"].median.value
        axis.axvline(median, color="#c2410c", linewidth=1.2)
        axis.set_ylabel(f"{name.replace('_', ' ')}\n{len(paper.features[name])}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, loc="upper left")
    axes[-1].set_xlabel("Spearman, predicted and true activations; the line is the median")
    with folder.replacing(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
