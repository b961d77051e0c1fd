"""Fuzzing: are the marked tokens of a text those on which the feature fires?

Right texts are passages in which the feature fires, with the tokens on which it does marked. Wrong texts are of two
kinds, half each: such passages with as many other tokens marked, and passages in which it does not fire with as many
tokens marked at random. An explanation that only knows the topic of a text tells the second kind, not the first (Paulo
et al. 2024, arXiv 2410.13928).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from monoscope.interpret.scorers import _exam
from monoscope.interpret.scorers._bench import LEAST, Bench, Span, active_spans, quiet_spans
from monoscope.interpret.scorers._exam import Exam, Grade

ASKS, CLAIM, JUDGE, MODEL = "marked", "fires_on", "", False
CHANCE = 0.5
CONSTANTS = {"always_no": 0.0, "always_yes": 1.0}
WRONG, RANDOM = "wrong tokens", "quiet text"


def examine(bench: Bench, feature: int) -> Exam | None:
    """Rightly and wrongly marked passages, mixed."""
    rng = bench.rng(feature, 1)
    active = active_spans(bench, feature, rng)
    least = bench.least(bench.catalogue.index.of(feature)[1])
    right = [rightly(bench, feature, span, least) for span in active]
    misled = (wrongly(bench, feature, right[i], rng) for i in rng.permutation(len(right))[: len(right) // 2])
    wrong = [span for span in misled if span is not None]
    quiet = quiet_spans(bench, feature, rng, active)[: len(right) - len(wrong)]
    counts = rng.permutation([len(span.marks) for span in right])
    wrong += [strewn(span, int(n), rng) for span, n in zip(quiet, counts, strict=False)]
    if min(len(right), len(wrong)) < LEAST:
        return None
    spans = right + wrong
    order = rng.permutation(len(spans))
    spans, truth = [spans[i] for i in order], (order < len(right)).astype(np.float64)
    told = {"right": len(right), "wrong_tokens": sum(s.group == WRONG for s in wrong), "quiet": len(quiet)}
    return Exam(
        feature, bench.passages(spans), truth, bench.documents(spans), tuple(span.group for span in spans), told
    )


def rightly(bench: Bench, feature: int, span: Span, least: float) -> Span:
    """The span with every token marked on which the feature is above ``least``."""
    return replace(span, marks=tuple((span.first + np.flatnonzero(bench.values(feature, span) > least)).tolist()))


def wrongly(bench: Bench, feature: int, span: Span, rng: np.random.Generator) -> Span | None:
    """The span with as many tokens marked on which the feature is silent; None where there are none."""
    rows = span.first + np.flatnonzero(bench.values(feature, span) == 0)
    return None if len(rows) == 0 else _drawn(span, rows, len(span.marks), WRONG, rng)


def strewn(span: Span, count: int, rng: np.random.Generator) -> Span:
    """The span with ``count`` tokens marked at random."""
    return _drawn(span, np.arange(span.first, span.last), count, RANDOM, rng)


def _drawn(span: Span, rows: np.ndarray, count: int, group: str, rng: np.random.Generator) -> Span:
    chosen = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
    return replace(span, group=group, marks=tuple(chosen.tolist()))


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """Balanced accuracy; precision, recall, F1 and the share of yes by group beside it."""
    return _exam.yes_or_no(exam, answers, seed)
