"""Intruder: of five texts with marked tokens, which is not of the feature?

No words are judged: the score says whether the feature's examples have anything in common that a judge can see, and
with that bounds what any explanation can be worth (intruder detection, as in delphi, EleutherAI). Four texts are from
one tenth of the feature's values, their active tokens marked; the fifth is a quiet one with as many random marks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monoscope.interpret.judges import SET
from monoscope.interpret.scorers import _exam, fuzzing
from monoscope.interpret.scorers import _measures as measures
from monoscope.interpret.scorers._bench import GROUPS, LEAST, Bench, Span, active_spans, quiet_spans
from monoscope.interpret.scorers._exam import Exam, Grade

ASKS, CLAIM, JUDGE, MODEL = "odd", "", "", False
CHANCE = 1 / SET
CONSTANTS: dict[str, float] = {}


def examine(bench: Bench, feature: int) -> Exam | None:
    """One set from each tenth that has enough passages."""
    rng = bench.rng(feature, 3)
    wide = replace(bench, active=GROUPS * (SET - 1), quiet=GROUPS)
    least = bench.least(bench.catalogue.index.of(feature)[1])
    active = active_spans(wide, feature, rng)
    quiet = quiet_spans(wide, feature, rng, active)
    spans: list[Span] = []
    places: list[int] = []
    for group in range(GROUPS):
        members = [span for span in active if span.group == str(group)]
        if len(members) < SET - 1 or len(places) == len(quiet):
            continue
        shown = [fuzzing.rightly(bench, feature, span, least) for span in members[: SET - 1]]
        count = len(shown[int(rng.integers(len(shown)))].marks)
        place = int(rng.integers(SET))
        shown.insert(place, fuzzing.strewn(quiet[len(places)], count, rng))
        spans += shown
        places.append(place)
    if len(places) < LEAST:
        return None
    documents = bench.documents(spans)
    odd = documents[np.arange(len(places)) * SET + np.array(places)]
    return Exam(feature, bench.passages(spans), np.array(places, float), odd, told={"sets": len(places)})


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """The share of sets in which the intruder was found."""
    given = np.flatnonzero(~np.isnan(answers))
    if len(given) == 0:
        return Grade(_exam.NOTHING, 0, len(exam))
    found = measures.recall(np.ones(len(given), bool), answers[given] == exam.truth[given])
    return Grade(measures.estimate(found, exam.documents[given], seed), len(given), len(exam) - len(given))
