"""Judges: whoever is given the words of an explanation and says which texts, marks or tokens fit them.

A judge may be a language model that reads the words, an executable concept that is run over the document, or a model
that compares sentences. Each file is one kind. What a scorer asks, it asks of any of them in the same way; what a judge
cannot do it refuses.

Every answer is a number for each thing asked, NaN where the judge gave none. Scorers count those; they take them
neither for right nor for wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from monoscope.errors import MonoscopeError

PACKAGE = "monoscope.interpret.judges"
MOST = 9.0  # levels are 0 to 9, as in Towards Monosemanticity
SET = 5  # passages of which one is odd


@dataclass(frozen=True)
class Claim:
    """What an explanation says, as far as one scorer is concerned.

    Args:
        words: for readers.
        concept: the same as an expression over concepts that can be run; "" where there is none.
        tokens: token ids, for the control that knows nothing but tokens.
        role: "fires_on" where the words say what the feature fires on, "promotes" where they say what it makes the
            model predict.
    """

    words: str
    concept: str = ""
    tokens: frozenset[int] = frozenset()
    role: str = "fires_on"


@dataclass(frozen=True)
class Passage:
    """Some tokens of a document: ``first`` is the position of the first, ``texts`` are the tokens as shown.

    A passage of ``document`` -1 is no part of any text: a token by itself, whose id is ``first``. ``marked`` are the
    places (0, 1, …) of the tokens to look at.
    """

    document: int
    first: int
    texts: tuple[str, ...]
    marked: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Question:
    """One claim, and the passages that it is held against."""

    claim: Claim
    passages: tuple[Passage, ...]


Answers = list[Float[np.ndarray, " n"]]


class Judge:
    """Answers questions. ``name`` is what records say of it; a kind of judge overrides the methods that it can do."""

    name = "judge"

    def contains(self, questions: Sequence[Question]) -> Answers:
        """For each passage, how sure (0 to 1; above 0.5 is yes) it is that some token of it fits the claim."""
        raise self._refusal("say which texts fit an explanation")

    def marked(self, questions: Sequence[Question]) -> Answers:
        """For each passage, how sure it is that the marked tokens are those that fit the claim."""
        raise self._refusal("say whether marked tokens fit an explanation")

    def levels(self, questions: Sequence[Question]) -> Answers:
        """For each token of each passage, one passage after another, how strongly it fits: 0 to 9."""
        raise self._refusal("predict a level for each token")

    def promoted(self, questions: Sequence[Question]) -> Answers:
        """For each passage (a token by itself), how sure it is that a feature so explained raises its logit."""
        raise self._refusal("say which tokens a feature promotes")

    def odd(self, questions: Sequence[Question]) -> Answers:
        """For every ``SET`` passages in turn, the place (0, 1, …) of the one that does not belong to the others.

        No claim is read: what the others have in common is to be seen in their marked tokens.
        """
        raise self._refusal("pick the odd example of a set")

    def can(self, question: str) -> bool:
        """Whether this kind of judge answers questions of this kind (the name of a method)."""
        return getattr(type(self), question) is not getattr(Judge, question)

    def fits(self, claim: Claim) -> bool:
        """Whether it can judge by this claim at all; a concept must be written down to be run."""
        return bool(claim.words)

    def _refusal(self, what: str) -> MonoscopeError:
        return MonoscopeError(f"the judge {self.name!r} cannot {what}", fix="choose another judge or another scorer")


class Silent(Judge):
    """Finds nothing anywhere: what a feature without words is worth, and what is predicted by whoever says nothing."""

    name = "silent"

    def contains(self, questions: Sequence[Question]) -> Answers:
        """No, to each passage."""
        return [np.zeros(len(q.passages)) for q in questions]

    marked = promoted = contains

    def levels(self, questions: Sequence[Question]) -> Answers:
        """0 for each token."""
        return [np.zeros(sum(len(p) for p in q.passages)) for q in questions]

    def fits(self, claim: Claim) -> bool:
        """Always."""
        return True
