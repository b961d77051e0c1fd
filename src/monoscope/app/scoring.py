"""Scoring the explanations of a run: which features, by whom, beside which controls, and what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from monoscope import progress
from monoscope.app import control_catalogues
from monoscope.app.run import Run
from monoscope.catalogue.explanations import Explanation, Score
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate, bootstrap
from monoscope.interpret import scoring
from monoscope.interpret.explainers import FIRES_ON, PROMOTES
from monoscope.interpret.judges import Judge
from monoscope.interpret.scorers._bench import Bench

ALL = "all"
UNSAID = "the explanations do not say what it asks about"
NO_JUDGE = "no judge at hand can answer it: --embedding or a language model could"
SAMPLE = 200  # features that are scored when no one says how many


@dataclass(frozen=True)
class Chosen:
    """Which features are scored: those named, else the ``best`` by label F1, else a ``sample`` drawn by the seed."""

    features: tuple[int, ...] = ()
    best: int | None = None
    sample: int | None = None

    def of(self, catalogue: Catalogue, given: Sequence[Explanation], seed: int) -> list[Explanation]:
        """The chosen ones among some explanations.

        Raises:
            MonoscopeError: a feature that was named has no explanation.
        """
        if self.features:
            by_feature = {e.feature: e for e in given}
            missing = [f for f in self.features if f not in by_feature]
            if missing:
                raise MonoscopeError(
                    f"feature {missing[0]} has no explanation by {given[0].explainer!r}",
                    where=str(catalogue.run),
                    fix="explain it first, or name others",
                )
            return [by_feature[f] for f in self.features]
        if self.best is not None:
            f1 = np.nan_to_num(catalogue.features["label_f1"], nan=-1.0)
            return sorted(given, key=lambda e: (-f1[e.feature], e.feature))[: self.best]
        return drawn(given, SAMPLE if self.sample is None else self.sample, seed)


def drawn(given: Sequence[Explanation], wanted: int, seed: int) -> list[Explanation]:
    """So many of the explanations, drawn by the seed; all where there are no more."""
    if wanted >= len(given):
        return list(given)
    return [given[i] for i in np.sort(np.random.default_rng(seed).choice(len(given), wanted, replace=False))]


@dataclass(frozen=True)
class Row:
    """One scorer over all features: means with intervals over features, for the explanations and for each control."""

    scorer: str
    own: Estimate
    controls: dict[str, Estimate]
    chance: float
    features: int
    answers: int
    unanswered: int

    def to_json(self) -> dict[str, Any]:
        """As numbers."""
        return {
            **self.own.to_json(),
            "chance": self.chance,
            "controls": {name: estimate.to_json() for name, estimate in self.controls.items()},
            "features": self.features,
            "answers": self.answers,
            "unanswered": self.unanswered,
        }


@dataclass(frozen=True)
class Scored:
    """What scoring a run found; ``notes`` say what was left out, and why."""

    rows: list[Row]
    scores: list[Score]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """``scorers``: means; ``features``: every score with its detail."""
        features = [
            {
                "id": s.feature, "explainer": s.explainer, "scorer": s.scorer,
                "value": s.value, "low": s.low, "high": s.high, "n": s.n, **s.detail,
            }
            for s in self.scores
        ]  # fmt: skip
        return {"scorers": {r.scorer: r.to_json() for r in self.rows}, "features": features, "notes": self.notes}


def score(
    run: Run,
    scorers: Sequence[str],
    explainer: str,
    chosen: Chosen,
    judges: Mapping[str, Judge],
    seed: int = 0,
    above: float = 0.0,
) -> Scored:
    """Score a run's explanations, and those of its controls that have a catalogue; what exists is not asked again.

    Args:
        run: the run.
        scorers: their names; ``all`` for those that the judges can answer.
        explainer: whose explanations.
        chosen: of which features.
        judges: the judge of choice under "", others by kind.
        seed: of features, passages and resamples.
        above: the share of its largest value above which a feature counts as firing.

    Raises:
        MonoscopeError: there is nothing to score, or a scorer that was named cannot be answered by the judge.
    """
    catalogue = run.catalogue
    notes: list[str] = []
    given = _judgeable(scoring.explanations(catalogue, explainer), judges[""], notes)
    asked = _scorers(run, scorers, judges, given, notes)
    some = chosen.of(catalogue, given, seed)
    rivals = dict(_rivals(run, explainer, judges[""], len(some), seed))
    rows, scores = [], []
    for name, judge in asked.items():
        own = finished(bench(run, catalogue, "", name, seed, above), name, some, given, judge, name)
        theirs = {
            control: finished(
                bench(run, made, control, name, seed, above), name, part, whole, judge, f"{name} ({control})"
            )
            for control, (made, part, whole) in rivals.items()
        }
        rows.append(_row(name, own, theirs, seed))
        scores += own
    return Scored(rows, scores, notes)


def bench(run: Run, catalogue: Catalogue, control: str, name: str, seed: int, above: float) -> Bench:
    """What a scorer examines on; with the model and the dictionary where it runs them."""
    if not scoring.load(name).MODEL:
        return Bench(catalogue, seed, above=above)
    lm = control_catalogues.model(run, control)
    dictionary = control_catalogues.dictionary(run, control) if control else run.dictionary
    return Bench(catalogue, seed, lm, dictionary, above=above)


def finished(
    made: Bench, name: str, some: Sequence[Explanation], others: Sequence[Explanation], judge: Judge, title: str
) -> list[Score]:
    """The scores of some explanations: those that exist, and the others made and written batch by batch."""
    barred = scoring.documents_shown(some) & frozenset(made.catalogue.store.documents(made.split).tolist())
    made = replace(made, barred=barred) if barred else made
    left = scoring.pending(made, name, some, judge)
    with progress.bar(title, len(left), unit="explanations") as report:
        for part in scoring.score(made, name, left, judge, others=others, progress=report):
            made.catalogue.write_scores(part)
    wanted = {(e.feature, e.explainer) for e in some}
    return [s for s in made.catalogue.scores() if s.scorer == name and (s.feature, s.explainer) in wanted]


def _scorers(
    run: Run, names: Sequence[str], judges: Mapping[str, Judge], given: Sequence[Explanation], notes: list[str]
) -> dict[str, Judge]:
    """The scorers to run with their judges; of ``all``, those that are possible, with notes on the others.

    Raises:
        MonoscopeError: a scorer that was named does not exist, no judge can answer it, the model lacks its needs, or
            no explanation says what it asks about.
    """
    everyone = list(names) == [ALL]
    found: dict[str, Judge] = {}
    for name in scoring.names() if everyone else names:
        scorer = scoring.load(name)
        judge = _judge_of(scorer, judges)
        missing = scoring.lacks(bench(run, run.catalogue, "", name, 0, 0.0), scorer) if judge else NO_JUDGE
        if judge and scorer.CLAIM and not any(judge.fits(scoring.claim_of(e, scorer.CLAIM)) for e in given):
            missing = UNSAID
        if judge is not None and not missing:
            found[name] = judge
        elif everyone:
            notes.append(f"left out: {name} ({missing})")
        else:
            raise MonoscopeError(f"{name} cannot be had: {missing}", fix="leave this scorer out")
    return found


def _judge_of(scorer: scoring.Scorer, judges: Mapping[str, Judge]) -> Judge | None:
    """The judge of the scorer's kind; where any will do, the first that can answer it."""
    kinds = [scorer.JUDGE] if scorer.JUDGE else list(judges)
    return next((judges[kind] for kind in kinds if kind in judges and judges[kind].can(scorer.ASKS)), None)


def _judgeable(given: Sequence[Explanation], judge: Judge, notes: list[str]) -> list[Explanation]:
    kept = [e for e in given if _fits(e, judge)]
    if not kept:
        raise MonoscopeError(
            f"the judge {judge.name!r} cannot judge by what {given[0].explainer!r} wrote",
            fix="its explanations hold no concept that can be run: name a language model with --judge",
        )
    if len(kept) < len(given):
        notes.append(f"left out: {len(given) - len(kept):,} explanations that the judge {judge.name!r} cannot use")
    return kept


def _fits(explanation: Explanation, judge: Judge) -> bool:
    """Whether the judge can use what it says of either side of the feature."""
    return any(judge.fits(scoring.claim_of(explanation, role)) for role in (FIRES_ON, PROMOTES))


def _rivals(
    run: Run, explainer: str, judge: Judge, wanted: int, seed: int
) -> Iterator[tuple[str, tuple[Catalogue, list[Explanation], list[Explanation]]]]:
    """Controls of the run with a catalogue that the same explainer explained: as many of their features."""
    for name, made in control_catalogues.existing(run).items():
        given = [e for e in scoring.written(made, explainer) if _fits(e, judge)]
        if given:
            yield name, (made, drawn(given, wanted, seed), given)


def mean(values: Sequence[float], seed: int) -> Estimate:
    """The mean with its interval over resampled features; nothing of nothing."""
    if not values:
        return Estimate()
    sums = {"sum": np.array(values), "n": np.ones(len(values))}
    return bootstrap(sums, lambda totals: {"mean": totals["sum"] / totals["n"]}, seed)["mean"]


def _row(name: str, own: Sequence[Score], rivals: dict[str, list[Score]], seed: int) -> Row:
    valued = [s for s in own if s.value is not None]
    told: dict[str, list[float]] = {}
    for s in valued:
        for control, found in s.detail["controls"].items():
            told.setdefault(control, [])
            if found["value"] is not None:
                told[control].append(found["value"])
    told |= {control: [s.value for s in theirs if s.value is not None] for control, theirs in rivals.items()}
    return Row(
        name, mean([s.value for s in valued if s.value is not None], seed),
        {control: mean(values, seed) for control, values in told.items()},
        scoring.load(name).CHANCE, len(valued), sum(s.n for s in own), sum(s.detail.get("unanswered", 0) for s in own),
    )  # fmt: skip
