"""Embedding: are an explanation and the texts in which the feature fires nearer to each other than to other texts?

The area under the curve of a sentence-embedding model's cosine between the words and each passage of ``detection``
(delphi, EleutherAI). It asks no language model. Embedding models are made for sentences: what a feature of code or of
punctuation fires on is often beyond them, which the controls show.
"""

from __future__ import annotations

import numpy as np

from monoscope.interpret.scorers import _exam, detection
from monoscope.interpret.scorers import _measures as measures
from monoscope.interpret.scorers._bench import Bench
from monoscope.interpret.scorers._exam import Exam, Grade

ASKS, CLAIM, JUDGE, MODEL = "contains", "fires_on", "embedding", False
CHANCE = 0.5
CONSTANTS = {"constant": 0.0}


def examine(bench: Bench, feature: int) -> Exam | None:
    """The passages of ``detection``."""
    return detection.examine(bench, feature)


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """The area under the curve."""
    given = np.flatnonzero(~np.isnan(answers))
    truth = exam.truth[given] > 0
    if not (truth.any() and (~truth).any()):
        return Grade(_exam.NOTHING, len(given), len(exam) - len(given))
    found = measures.estimate(measures.auc(truth, answers[given]), exam.documents[given], seed)
    return Grade(found, len(given), len(exam) - len(given))
