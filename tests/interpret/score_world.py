"""A real catalogue of small Python programs whose index is planted: what every feature fires on is known exactly."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "catalogue"))

from catalogue_world import FEATURES, dictionary, language_model, spooled, tokeniser
from interpret_world import program

from monoscope.catalogue import index as indices
from monoscope.catalogue.build import build
from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.store import INDEX, Catalogue
from monoscope.concepts import concept
from monoscope.interpret.judges import MOST, Answers, Judge, Question
from monoscope.text import store as stores
from monoscope.types import Document

PLANTED = [
    "in_docstring",
    "token('=')",
    "digits",
    "letters & in_signature",
    "token('r') | token('t')",
    "keyword_def",
]
SHARED = 12  # the documents of the store
UNTOLD = len(PLANTED)  # a feature that fires on two test tokens only


def world(path: Path) -> Catalogue:
    """A catalogue in ``path``: feature i fires on ``PLANTED[i]``, with values that depend on the token's byte."""
    rng = random.Random(4)
    made = [("fit" if i % 2 else "test", Document(f"d{i}", program(rng).text)) for i in range(SHARED)]
    text = stores.build([("model", Document("unused", "nothing to see")), *made], tokeniser(), path / "text")
    with build(path, language_model(1), "mlp_act.0", dictionary(), text, effects=0) as catalogue:
        plant(catalogue, path)
    return Catalogue(path)


def plant(catalogue: Catalogue, path: Path) -> None:
    """Put the planted index in the place of the catalogue's own."""
    rows = catalogue.rows
    dense = np.zeros((len(rows), FEATURES), np.float32)
    noise = np.random.default_rng(5).uniform(0.5, 1, len(rows)).astype(np.float16)
    for i in range(len(PLANTED)):
        dense[:, i] = mask_of(catalogue, PLANTED[i]) * noise
    test = np.flatnonzero(rows.in_split("test"))
    dense[test[[5, 900]], UNTOLD] = 1
    indices.build(spooled(dense, path), path / INDEX, {"key": catalogue.facts["key"]})


def mask_of(catalogue: Catalogue, expression: str) -> np.ndarray:
    rows = catalogue.rows
    return np.concatenate([concept(expression).mask(rows.store.document(d)) for d in rows.documents.tolist()])


def told(catalogue: Catalogue) -> list[Explanation]:
    """The truth about the planted features."""
    return [Explanation(i, "truth", f"in words: {e}", detail={"concept": e}) for i, e in enumerate(PLANTED)]


@dataclass
class Constant(Judge):
    """Gives the same answer to everything; NaN for none."""

    answer: float
    name: str = "constant"

    def _all(self, questions: Sequence[Question], by_token: bool = False) -> Answers:
        counts = [sum(len(p) for p in q.passages) if by_token else len(q.passages) for q in questions]
        return [np.full(n, self.answer) for n in counts]

    def contains(self, questions: Sequence[Question]) -> Answers:
        return self._all(questions)

    def marked(self, questions: Sequence[Question]) -> Answers:
        return self._all(questions)

    def promoted(self, questions: Sequence[Question]) -> Answers:
        return self._all(questions)

    def levels(self, questions: Sequence[Question]) -> Answers:
        return [MOST * a for a in self._all(questions, by_token=True)]


class Guessing(Constant):
    """Answers at random."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(0.0, "guessing")
        self._rng = np.random.default_rng(seed)

    def _all(self, questions: Sequence[Question], by_token: bool = False) -> Answers:
        return [self._rng.integers(0, 2, len(a)).astype(float) for a in super()._all(questions, by_token)]
