"""Detection: which of some unmarked texts hold a token on which the feature fires?

Class-balanced accuracy over passages in which the feature fires, as many from each tenth of its values, and passages
in which it fires on no token (Paulo et al. 2024, "Automatically interpreting millions of features", arXiv 2410.13928).
"""

from __future__ import annotations

import numpy as np

from monoscope.interpret.scorers import _exam
from monoscope.interpret.scorers._bench import LEAST, Bench, active_spans, quiet_spans
from monoscope.interpret.scorers._exam import Exam, Grade

ASKS, CLAIM, JUDGE, MODEL = "contains", "fires_on", "", False
CHANCE = 0.5
CONSTANTS = {"always_no": 0.0, "always_yes": 1.0}


def examine(bench: Bench, feature: int) -> Exam | None:
    """Active and quiet passages, mixed."""
    rng = bench.rng(feature, 0)
    active = active_spans(bench, feature, rng)
    quiet = quiet_spans(bench, feature, rng, active)
    if min(len(active), len(quiet)) < LEAST:
        return None
    spans = active + quiet
    order = rng.permutation(len(spans))
    spans = [spans[i] for i in order]
    truth = (order < len(active)).astype(np.float64)
    return Exam(
        feature, bench.passages(spans), truth, bench.documents(spans), tuple(span.group for span in spans),
        {"active": len(active), "quiet": len(quiet)},
    )  # fmt: skip


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """Balanced accuracy; precision, recall, F1 and the share of yes by group beside it."""
    return _exam.yes_or_no(exam, answers, seed)
