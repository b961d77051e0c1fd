"""Causal: does removing the feature do what the words say?

At places of every tenth of its values the feature is removed, and the rise of the next token's loss is its *effect*
there (``catalogue.loss_effect``). The judge says of each place whether the words name it: those on what the feature
promotes by the token that comes next, those on what it fires on by the token itself. If the words are right about what
the feature does, its effect is larger at the places that they name. Each is compared with the place of nearest value
among those not named, so that strong activations do not pass for right words: the value is the share of such pairs in
which the named place has the larger effect, 0.5 by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from monoscope.catalogue.loss_effect import loss_effects
from monoscope.interpret.judges import Claim, Question
from monoscope.interpret.scorers import _exam
from monoscope.interpret.scorers import _measures as measures
from monoscope.interpret.scorers._bench import GROUPS, LEAST, Bench, Span
from monoscope.interpret.scorers._exam import Exam, Grade
from monoscope.interpret.scorers._measures import Measure

ASKS, CLAIM, JUDGE, MODEL = "marked", "promotes", "", True
CHANCE = 0.5
CONSTANTS: dict[str, float] = {}
PLACES = 100
BEFORE = 15  # tokens shown before the place


@dataclass(frozen=True)
class Removed(Exam):
    """``truth`` are effects in nats, ``values`` the feature's values; passages mark the place and the next token."""

    values: Float[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))


def lacks(bench: Bench) -> str:
    """A head: without one there is no loss."""
    assert bench.lm is not None
    return "" if bench.lm.has_head else f"{bench.lm.name} predicts no tokens"


def examine(bench: Bench, feature: int) -> Removed | None:
    """Places with their effects; None where there are too few, or the model has no loss."""
    assert bench.lm is not None and bench.dictionary is not None
    rng, (rows, values) = bench.rng(feature, 5), bench.firings(feature)
    shares = np.array_split(np.argsort(values, kind="stable"), GROUPS)
    chosen = np.sort(np.concatenate([rng.permutation(share)[: PLACES // GROUPS] for share in shares]))
    documents, positions = bench.catalogue.rows.locate(rows[chosen])
    effects = loss_effects(
        bench.lm, bench.catalogue.store, bench.catalogue.facts["target"], bench.dictionary.directions,
        np.full(len(chosen), feature), documents, positions, values[chosen],
    )  # fmt: skip
    known = np.isfinite(effects)  # the last token of a document predicts nothing
    if known.sum() < 2 * LEAST:
        return None
    chosen, effects = chosen[known], effects[known]
    spans = [_around(bench, row) for row in rows[chosen].tolist()]
    told = {"places": len(chosen), "mean_effect": float(effects.mean())}
    return Removed(
        feature, bench.passages(spans), effects, documents[known], told=told, values=values[chosen].astype(np.float64)
    )


def _around(bench: Bench, row: int) -> Span:
    first, last = bench.window(row, BEFORE, BEFORE + 2)
    return Span(min(first, row), max(last, row + 2), marks=(row, row + 1))


def question(claim: Claim, exam: Exam) -> Question:
    """The token that comes next is judged by what the feature promotes, the token itself by what it fires on."""
    which = 1 if claim.role == "promotes" else 0
    return Question(claim, tuple(replace(p, marked=(p.marked[which],)) for p in exam.passages))


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """The share of matched pairs in which the named place has the larger effect; both means beside it, in nats."""
    assert isinstance(exam, Removed)
    given = np.flatnonzero(~np.isnan(answers))
    named, others = given[answers[given] > 0.5], given[answers[given] <= 0.5]
    unanswered = len(exam) - len(given)
    detail: dict[str, Any] = {"named": len(named), "not_named": len(others)}
    if min(len(named), len(others)) < LEAST:
        return Grade(_exam.NOTHING, len(given), unanswered, detail)
    rivals = others[np.abs(exam.values[named][:, None] - exam.values[others]).argmin(1)]
    own, theirs = exam.truth[named], exam.truth[rivals]
    documents = exam.documents[named]
    estimate = measures.estimate(_mean((own > theirs) + (own == theirs) / 2), documents, seed)
    detail |= {
        "effect_named": measures.estimate(_mean(own), documents, seed).to_json(),
        "effect_matched": measures.estimate(_mean(theirs), documents, seed).to_json(),
        "difference": measures.estimate(_mean(own - theirs), documents, seed).to_json(),
    }
    return Grade(estimate, len(given), unanswered, detail)


def _mean(values: Float[np.ndarray, " n"]) -> Measure:
    return Measure(len(values), lambda w: (w @ values) / w.sum(1))
