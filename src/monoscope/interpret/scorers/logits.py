"""Logits: given only the explanation, which tokens does the feature promote?

Towards Monosemanticity's test of the output side (Bricken et al. 2023): 50 tokens that the feature's direction raises
most, of ranks 10 to 60 (an explainer may have been shown the first ten), against 50 random ones. Class-balanced
accuracy. Ranks and random tokens are among the tokens that occur in the catalogued text, for a vocabulary's unused
corners are promoted by accident.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int

from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.interpret.judges import Passage
from monoscope.interpret.scorers import _exam
from monoscope.interpret.scorers._bench import Bench
from monoscope.interpret.scorers._exam import Exam, Grade

ASKS, CLAIM, JUDGE, MODEL = "promoted", "promotes", "", True
CHANCE = 0.5
CONSTANTS = {"always_no": 0.0, "always_yes": 1.0}
FIRST, LAST, RANDOM = 10, 60, 50


def lacks(bench: Bench) -> str:
    """A head, and something linear from where the dictionary writes to it."""
    assert bench.lm is not None
    target = bench.catalogue.facts["target"]
    if bench.lm.unembedding() is None or bench.lm.to_residual(target) is None:
        return f"nothing linear leads from {target} of {bench.lm.name} to logits"
    return ""


def examine(bench: Bench, feature: int) -> Exam | None:
    """Promoted and random tokens, mixed; None where too few tokens occur in the text."""
    rng, (vocabulary, met) = bench.rng(feature, 4), _met(bench)
    if len(met) < LAST + RANDOM:
        return None
    ranked = met[np.argsort(-weights(bench, feature)[met], kind="stable")]
    promoted, others = ranked[FIRST:LAST], rng.choice(ranked[LAST:], RANDOM, replace=False)
    tokens = np.concatenate([promoted, others])
    order = rng.permutation(len(tokens))
    passages = tuple(Passage(-1, t, (vocabulary[t],)) for t in tokens[order].tolist())
    return Exam(feature, passages, (order < len(promoted)).astype(np.float64), np.arange(len(tokens)))


@lru_cache(maxsize=1)
def _met(bench: Bench) -> tuple[Vocabulary, Int[np.ndarray, " n_tokens"]]:
    """The vocabulary as shown, and those of its tokens that occur in the text and are whole characters."""
    assert bench.lm is not None
    vocabulary, met = Vocabulary(bench.lm.tokeniser), np.unique(bench.tokens)
    return vocabulary, met[[len(vocabulary[t]) > 0 and "\\x" not in vocabulary[t] for t in met.tolist()]]


def weights(bench: Bench, feature: int) -> Float[np.ndarray, " vocabulary"]:
    """How much each token's logit rises per unit of the feature, by the direct path to the unembedding."""
    assert bench.lm is not None and bench.dictionary is not None
    out, into = bench.lm.unembedding(), bench.lm.to_residual(bench.catalogue.facts["target"])
    assert out is not None and into is not None  # else the bench lacks it
    with torch.no_grad():
        return (bench.dictionary.directions[feature].to(into) @ into @ out).cpu().numpy()


def grade(exam: Exam, answers: np.ndarray, seed: int) -> Grade:
    """Balanced accuracy."""
    return _exam.yes_or_no(exam, answers, seed)
