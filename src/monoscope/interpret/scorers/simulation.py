"""Simulation: a level from 0 to 9 for every token, held against the feature's values.

Spearman's rank correlation over all tokens of all passages, as in Towards Monosemanticity (Bricken et al. 2023);
Pearson's beside it (Bills et al. 2023, "Language models can explain neurons in language models"). A constant prediction
is worth 0: it says nothing, and must not pass for undefined. Passages are those of ``detection``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monoscope.interpret.judges import MOST
from monoscope.interpret.scorers import _exam, detection
from monoscope.interpret.scorers import _measures as measures
from monoscope.interpret.scorers._bench import Bench, Span
from monoscope.interpret.scorers._exam import Exam, Grade

ASKS, CLAIM, JUDGE, MODEL = "levels", "fires_on", "", False
CHANCE = 0.0
CONSTANTS = {"always_no": 0.0, "always_yes": MOST}


def examine(bench: Bench, feature: int) -> Exam | None:
    """The passages of ``detection`` with the feature's value on every token."""
    found = detection.examine(bench, feature)
    return None if found is None else by_token(bench, found)


def by_token(bench: Bench, exam: Exam) -> Exam:
    """An exam of passages as one of their tokens."""
    lengths = [len(p) for p in exam.passages]
    rows = bench.catalogue.rows
    starts = rows.index(
        np.array([p.document for p in exam.passages]), np.array([p.first for p in exam.passages])
    ).tolist()
    values = [bench.values(exam.feature, Span(a, a + n)) for a, n in zip(starts, lengths, strict=True)]
    return replace(exam, truth=np.concatenate(values), documents=np.repeat(exam.documents, lengths), groups=())


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """Spearman; Pearson with its interval beside it."""
    unanswered = int(np.isnan(answers).sum())
    detail = {"pearson": _exam.correlation(measures.pearson, exam, answers, seed).to_json()}
    estimate = _exam.correlation(measures.spearman, exam, answers, seed)
    return Grade(estimate, len(exam) - unanswered, unanswered, detail)
