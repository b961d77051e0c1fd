"""Putting explanations to the test: exams from a scorer, answers from a judge, and the same exams for the controls.

For every explanation the scorer's exam is answered four times over: by the judge with the explanation's own words; by
the same judge with the words of another feature (*shuffled*); by the best set of at most 8 tokens (*unigram*), chosen
on the documents that explainers may see; and by constant answers. An explanation is worth what it adds to these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from monoscope import plugins
from monoscope.catalogue.explanations import Explanation, Score
from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.interpret.judges import Answers, Claim, Judge, Question
from monoscope.interpret.judges.concept import TokenSet
from monoscope.interpret.scorers import PACKAGE
from monoscope.interpret.scorers._bench import Bench
from monoscope.interpret.scorers._exam import Exam, Grade
from monoscope.interpret.scorers._unigram import Unigrams

CONCEPTS = "concepts"  # the explainer whose explanations are the catalogue's labels
BATCH = 16  # features that are asked about at once
SHUFFLED, UNIGRAM = "shuffled", "unigram"
UNEXAMINED = "too few places where the feature fires, or where it does not"
UNUSABLE = "the judge cannot use what the explanation says"


class Scorer(Protocol):
    """A module of ``scorers``; what each name means is said there."""

    ASKS: str
    CLAIM: str
    JUDGE: str
    MODEL: bool
    CHANCE: float
    CONSTANTS: dict[str, float]

    def examine(self, bench: Bench, feature: int) -> Exam | None:
        """The exam of a feature."""

    def grade(self, exam: Exam, answers: np.ndarray, seed: int) -> Grade:
        """What answers are worth."""


def names() -> list[str]:
    """The scorers there are."""
    return plugins.names(PACKAGE)


def load(name: str) -> Scorer:
    """A scorer by its name.

    Raises:
        MonoscopeError: there is none of this name.
    """
    found: Any = plugins.load(PACKAGE, name)
    return found


def from_labels(catalogue: Catalogue) -> list[Explanation]:
    """The labels as explanations of the explainer ``concepts``, each with its expression."""
    columns = catalogue.features
    found = np.flatnonzero(columns["label_concept"] != "").tolist()
    labels = (catalogue[feature].label for feature in found)
    return [from_label(label) for label in labels if label is not None]


def from_label(label: Label) -> Explanation:
    """A label as an explanation."""
    return Explanation(label.feature, CONCEPTS, label.words, detail={"concept": label.concept, "kind": label.kind})


def written(catalogue: Catalogue, explainer: str = CONCEPTS) -> list[Explanation]:
    """What one explainer says of the features; nothing where it says nothing."""
    if explainer == CONCEPTS:
        return from_labels(catalogue)
    return [e for e in catalogue.explanations() if e.explainer == explainer]


def explanations(catalogue: Catalogue, explainer: str = CONCEPTS) -> list[Explanation]:
    """What one explainer says of the features.

    Raises:
        MonoscopeError: it says nothing; the message names those that do.
    """
    found = written(catalogue, explainer)
    if not found:
        have = ", ".join(sorted({e.explainer for e in catalogue.explanations()})) or "none but concepts"
        raise MonoscopeError(
            f"no feature has an explanation by {explainer!r}",
            where=str(catalogue.run),
            fix=f"run monoscope explain first; explainers that wrote here: {have}",
        )
    return found


def claim_of(explanation: Explanation, role: str) -> Claim:
    """What a scorer judges by: the words on what the feature promotes if it asks for those and there are any."""
    if not role:
        return Claim("")
    if role == "promotes" and explanation.promotes:
        return Claim(explanation.promotes, str(explanation.detail.get("promotes_concept", "")), role="promotes")
    return Claim(explanation.fires_on, str(explanation.detail.get("concept", "")))


def check(bench: Bench, given: Sequence[Explanation]) -> None:
    """Refuse explanations of other features than the catalogue's.

    Raises:
        MonoscopeError: one names a feature that does not exist or never fires, or was made for another catalogue.
    """
    catalogue = bench.catalogue
    fires = catalogue.index.counts() > 0
    for explanation in given:
        of = explanation.detail.get("catalogue", catalogue.facts["key"])
        if of != catalogue.facts["key"] or not 0 <= explanation.feature < len(catalogue):
            raise MonoscopeError(
                f"an explanation of feature {explanation.feature} by {explanation.explainer!r} is of another catalogue",
                where=str(catalogue.run),
                fix="explain the features of this catalogue",
            )
        if not fires[explanation.feature]:
            raise MonoscopeError(
                f"feature {explanation.feature} never fires in this catalogue, so nothing of it can be tested",
                fix="leave it out",
            )


def documents_shown(given: Sequence[Explanation]) -> frozenset[int]:
    """The documents that explainers saw, as far as they say: no explanation is scored on any of them."""
    return frozenset(int(d) for explanation in given for d in explanation.detail.get("documents", ()))


def key(bench: Bench, name: str, explanation: Explanation, judge: Judge) -> str:
    """A hash over everything that a score depends on, by which a score that exists is known again."""
    told = [
        name, judge.name, bench.catalogue.facts["key"], explanation.feature, explanation.explainer,
        explanation.fires_on, explanation.promotes, explanation.detail.get("concept"),
        bench.seed, bench.width, bench.active, bench.quiet, bench.above, bench.split, sorted(bench.barred),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def pending(bench: Bench, name: str, given: Sequence[Explanation], judge: Judge) -> list[Explanation]:
    """Those of the explanations whose score is not in the catalogue yet, or lacks answers.

    What was answered is known to whoever keeps answers, so only what was not costs anything the second time.
    """
    whole = [s for s in bench.catalogue.scores() if s.scorer == name and not s.detail.get("unanswered")]
    have = {(s.feature, s.explainer): s.detail.get("key") for s in whole}
    return [e for e in given if have.get((e.feature, e.explainer)) != key(bench, name, e, judge)]


def lacks(bench: Bench, scorer: Scorer) -> str:
    """What a bench lacks for a scorer that runs the model; "" for nothing."""
    if not scorer.MODEL:
        return ""
    if bench.lm is None or bench.dictionary is None:
        return "it runs the model, which the bench does not have"
    asked: Callable[[Bench], str] = scorer.lacks  # type: ignore[attr-defined]
    return asked(bench)


def score(
    bench: Bench,
    name: str,
    given: Sequence[Explanation],
    judge: Judge,
    *,
    others: Sequence[Explanation] | None = None,
    progress: Callable[[int], None] = lambda features: None,
) -> Iterator[list[Score]]:
    """Score explanations, some features at a time.

    Args:
        bench: the catalogue, and how it is sampled.
        name: a scorer.
        given: the explanations.
        judge: who answers.
        others: whose words the shuffled control takes; ``given`` by default.
        progress: told how many explanations are done.

    Yields:
        The scores of a batch, to be written before the next one is asked for.

    Raises:
        MonoscopeError: the scorer does not exist or needs a model, the judge cannot answer it, or an explanation is
            of another catalogue.
    """
    scorer = load(name)
    check(bench, given)
    if not judge.can(scorer.ASKS):
        raise MonoscopeError(f"the judge {judge.name!r} cannot answer {name}", fix="choose another judge or scorer")
    if missing := lacks(bench, scorer):
        raise MonoscopeError(f"{name} cannot be had: {missing}", fix="leave this scorer out")
    marker = _Marker(bench, name, scorer, judge, given if others is None else others)
    for first in range(0, len(given), BATCH):
        some = given[first : first + BATCH]
        yield marker.scores(some)
        progress(len(some))


@dataclass(frozen=True)
class _Control:
    """An exam answered by someone who should not do well, and whose words were used."""

    name: str
    answers: Answers
    told: list[dict[str, Any]]


def _question(claim: Claim, exam: Exam) -> Question:
    return Question(claim, exam.passages)


class _Marker:
    """Examines, asks and grades with one scorer and judge."""

    def __init__(self, bench: Bench, name: str, scorer: Scorer, judge: Judge, others: Sequence[Explanation]) -> None:
        self.bench, self.name, self.scorer, self.judge = bench, name, scorer, judge
        self._others = [e for e in others if scorer.CLAIM and judge.fits(claim_of(e, scorer.CLAIM))]
        self._unigrams = Unigrams(bench)
        self._tokens = TokenSet(bench.catalogue.store)

    def scores(self, given: Sequence[Explanation]) -> list[Score]:
        """The scores of some explanations, asked about together."""
        exams = [self._exam(e) for e in given]
        asked = [(e, exam) for e, exam in zip(given, exams, strict=True) if isinstance(exam, Exam)]
        answers = self._ask(self.judge, [(claim_of(e, self.scorer.CLAIM), exam) for e, exam in asked])
        controls = [self._shuffled(asked), self._unigram(asked)]
        done = iter(
            self._score(e, exam, answers[i], [(c.name, c.answers[i], c.told[i]) for c in controls if c.answers])
            for i, (e, exam) in enumerate(asked)
        )
        return [
            self._none(e, exam) if isinstance(exam, str) else next(done) for e, exam in zip(given, exams, strict=True)
        ]

    def _exam(self, explanation: Explanation) -> Exam | str:
        """The exam for an explanation, or why there is none."""
        if self.scorer.CLAIM and not self.judge.fits(claim_of(explanation, self.scorer.CLAIM)):
            return UNUSABLE
        return self.scorer.examine(self.bench, explanation.feature) or UNEXAMINED

    def _ask(self, judge: Judge, asked: Sequence[tuple[Claim, Exam]]) -> Answers:
        if not asked:
            return []
        answer: Callable[[Sequence[Question]], Answers] = getattr(judge, self.scorer.ASKS)
        form: Callable[[Claim, Exam], Question] = getattr(self.scorer, "question", _question)
        found = answer([form(claim, exam) for claim, exam in asked])
        for (_, exam), given in zip(asked, found, strict=True):
            if len(given) != len(exam):
                raise ValueError(f"{judge.name} gave {len(given)} answers to {len(exam)} questions of {self.name}")
        return found

    def _shuffled(self, asked: Sequence[tuple[Explanation, Exam]]) -> _Control:
        """The same exams with another feature's words, drawn by the seed."""
        strangers = [self._stranger(e) for e, _ in asked] if self.scorer.CLAIM else [None]
        if any(s is None for s in strangers):
            return _Control(SHUFFLED, [], [])
        pairs = [(claim_of(s, self.scorer.CLAIM), exam) for s, (_, exam) in zip(strangers, asked, strict=True) if s]
        return _Control(SHUFFLED, self._ask(self.judge, pairs), [{"of": s.feature} for s in strangers if s])

    def _stranger(self, explanation: Explanation) -> Explanation | None:
        said = claim_of(explanation, self.scorer.CLAIM)
        rng = self.bench.rng(explanation.feature, 7)
        for i in rng.permutation(len(self._others)).tolist():
            other = self._others[i]
            if other.feature != explanation.feature and claim_of(other, self.scorer.CLAIM) != said:
                return other
        return None

    def _unigram(self, asked: Sequence[tuple[Explanation, Exam]]) -> _Control:
        """The same exams answered by the best set of tokens."""
        if not self._tokens.can(self.scorer.ASKS):
            return _Control(UNIGRAM, [], [])
        claims = [self._unigrams.claim(e.feature) for e, _ in asked]
        pairs = [(claim, exam) for claim, (_, exam) in zip(claims, asked, strict=True)]
        return _Control(UNIGRAM, self._ask(self._tokens, pairs), [{"tokens": len(claim.tokens)} for claim in claims])

    def _score(
        self, explanation: Explanation, exam: Exam, answers: np.ndarray, rivals: list[tuple[str, np.ndarray, dict]]
    ) -> Score:
        seed = self.bench.seed
        grade = self.scorer.grade(exam, answers, seed)
        controls: dict[str, Any] = {
            name: {**self.scorer.grade(exam, theirs, seed).estimate.to_json(), **told} for name, theirs, told in rivals
        }
        for name, answer in self.scorer.CONSTANTS.items():
            constant = self.scorer.grade(exam, np.full(len(exam), answer), seed)
            controls[name] = {"value": constant.estimate.value, "f1": constant.detail.get("f1")}
        detail = {
            **self._told(explanation), "controls": controls, "chance": self.scorer.CHANCE,
            "unanswered": grade.unanswered, **exam.told, **grade.detail,
        }  # fmt: skip
        e = grade.estimate
        return Score(explanation.feature, explanation.explainer, self.name, e.value, e.low, e.high, grade.n, detail)

    def _none(self, explanation: Explanation, why: str) -> Score:
        """The score of an explanation that has no value."""
        detail = {**self._told(explanation), "why": why}
        return Score(explanation.feature, explanation.explainer, self.name, None, None, None, 0, detail)

    def _told(self, explanation: Explanation) -> dict[str, Any]:
        return {
            "judge": self.judge.name,
            "seed": self.bench.seed,
            "key": key(self.bench, self.name, explanation, self.judge),
        }
