"""Simulation as in Towards Monosemanticity: 60 examples of 9 tokens, Spearman between predicted and true activations.

The examples are 6 of the strongest, 2 from each of the other 12 intervals of the feature's range, 10 at random and 20
of the strongest examples' tokens out of context (``_intervals``). Most of these are rare in text, so the value says how
well an explanation ranks a feature's whole range; ``importance``, beside it, weights every token by how common its
interval is, and says how well it does on text as it comes. A constant prediction is worth 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monoscope.interpret.judges import MOST
from monoscope.interpret.scorers import _exam
from monoscope.interpret.scorers import _measures as measures
from monoscope.interpret.scorers._bench import LEAST, Bench
from monoscope.interpret.scorers._exam import Exam, Grade
from monoscope.interpret.scorers._intervals import ANY, ELSEWHERE, SCORED, importance, spans
from monoscope.interpret.scorers.simulation import by_token

ASKS, CLAIM, JUDGE, MODEL = "levels", "fires_on", "", False
CHANCE = 0.0
CONSTANTS = {"always_no": 0.0, "always_yes": MOST}


def examine(bench: Bench, feature: int) -> Exam | None:
    """The paper's examples, mixed, with the feature's value on every token."""
    rng = bench.rng(feature, 2)
    found = spans(bench, feature, SCORED, rng)
    if sum(span.group not in (ANY, ELSEWHERE) for span in found) < LEAST:
        return None
    shown = [replace(found[i], marks=()) for i in rng.permutation(len(found))]
    exam = Exam(feature, bench.passages(shown), np.zeros(0), bench.documents(shown), told={"examples": len(shown)})
    asked = by_token(bench, exam)
    return replace(asked, weights=importance(bench, feature, asked.truth))


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """Spearman; weighted by importance beside it."""
    unanswered = int(np.isnan(answers).sum())
    weighted = _exam.correlation(measures.spearman, exam, answers, seed, exam.weights)
    estimate = _exam.correlation(measures.spearman, exam, answers, seed)
    return Grade(estimate, len(exam) - unanswered, unanswered, {"importance": weighted.to_json()})
