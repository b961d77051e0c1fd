"""Exams and grades: what scorers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from monoscope.evaluate.intervals import Estimate
from monoscope.interpret.judges import Passage
from monoscope.interpret.scorers import _measures as measures


@dataclass(frozen=True)
class Exam:
    """What is asked about a feature, and the truth.

    Args:
        feature: its number.
        passages: what the judge sees.
        truth: one number for each answer that is expected.
        documents: the document of each.
        groups: from where each was drawn, for reports by group.
        told: facts that go into the score's detail as they are.
        weights: what each answer stands for, where they do not count alike.
    """

    feature: int
    passages: tuple[Passage, ...]
    truth: Float[np.ndarray, " n"]
    documents: Int[np.ndarray, " n"]
    groups: tuple[str, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    weights: Float[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True)
class Grade:
    """What answers are worth: an estimate, the number of answers, of questions without one, and further figures."""

    estimate: Estimate
    n: int
    unanswered: int
    detail: Mapping[str, Any] = field(default_factory=dict)


NOTHING = Estimate()


def sure(answers: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Yes (1) or no (0) from how sure a judge is; NaN stays."""
    return np.where(np.isnan(answers), np.nan, answers > 0.5)


def yes_or_no(exam: Exam, answers: Float[np.ndarray, " n"], seed: int) -> Grade:
    """Class-balanced accuracy, with precision, recall and F1; the area under the curve where answers have degrees.

    A question without an answer is left out and counted.
    """
    given = np.flatnonzero(~np.isnan(answers))
    truth, said = exam.truth[given] > 0, answers[given] > 0.5
    documents = exam.documents[given]
    if not (truth.any() and (~truth).any()):
        return Grade(NOTHING, len(given), len(exam) - len(given))
    estimate = measures.estimate(measures.balanced_accuracy(truth, said), documents, seed)
    detail: dict[str, Any] = {
        name: make(truth, said).on_all()
        for name, make in (("precision", measures.precision), ("recall", measures.recall), ("f1", measures.f1))
    }
    detail["true_negative_rate"] = measures.recall(~truth, ~said).on_all()
    if np.any((answers[given] > 0) & (answers[given] < 1)):
        detail["auc"] = measures.estimate(measures.auc(truth, answers[given]), documents, seed).to_json()
    detail["yes_by_group"] = _by_group(exam, given, said)
    return Grade(estimate, len(given), len(exam) - len(given), detail)


def _by_group(exam: Exam, given: Int[np.ndarray, " n"], said: np.ndarray) -> dict[str, float]:
    """The share of yes among the answers of each group."""
    groups = np.array(exam.groups)[given] if exam.groups else np.zeros(0, str)
    return {str(group): round(float(said[groups == group].mean()), 4) for group in np.unique(groups)}


def correlation(
    measure: Callable[[np.ndarray, np.ndarray], measures.Measure],
    exam: Exam,
    answers: Float[np.ndarray, " n"],
    seed: int,
    weights: Float[np.ndarray, " n"] | None = None,
) -> Estimate:
    """A correlation of answers with the truth, over those that were answered; 0 where all answers are the same.

    Answers of one document that agree in both are taken together, for most tokens are silent and said to be.
    """
    given = np.flatnonzero(~np.isnan(answers))
    if len(given) == 0 or np.ptp(exam.truth[given]) == 0:
        return NOTHING
    if np.ptp(answers[given]) == 0:
        return Estimate(0.0, 0.0, 0.0)
    columns = np.stack([exam.documents[given], answers[given], exam.truth[given]])
    (documents, said, truth), back = np.unique(columns, axis=1, return_inverse=True)
    own = np.bincount(back.ravel(), None if weights is None else weights[given], minlength=len(said))
    return measures.estimate(measure(said, truth), documents, seed, own.astype(np.float64))
