"""A judge that runs the explanation: the concept's expression over the whole document, and reads off its passages.

So that a tested concept is scored by the same code, on the same examples, as the words of a language model.
``TokenSet`` is the control that knows nothing but token ids.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool

from monoscope.concepts import Analysed, Lexicon, concept
from monoscope.interpret import judges
from monoscope.interpret.judges import MOST, SET, Answers, Claim, Passage, Question
from monoscope.text.store import TokenStore
from monoscope.types import TokenisedDocument

KEPT = 512  # documents whose syntax is kept


class Masks(judges.Judge):
    """A judge that knows for every token whether the claim holds on it."""

    @abstractmethod
    def mask(self, claim: Claim, passage: Passage) -> Bool[np.ndarray, " n"]:
        """Whether the claim holds on each token of the passage."""

    def contains(self, questions: Sequence[Question]) -> Answers:
        """1 where the claim holds on any token of the passage, else 0."""
        return self._each(questions, lambda claim, p: [float(self.mask(claim, p).any())])

    def marked(self, questions: Sequence[Question]) -> Answers:
        """The share of the marked tokens on which the claim holds."""
        return self._each(questions, lambda claim, p: [float(self.mask(claim, p)[list(p.marked)].mean())])

    def levels(self, questions: Sequence[Question]) -> Answers:
        """9 where the claim holds, else 0: a concept knows no degrees."""
        return self._each(questions, lambda claim, p: (MOST * self.mask(claim, p)).tolist())

    def promoted(self, questions: Sequence[Question]) -> Answers:
        """1 where the claim holds on the token by itself."""
        return self.contains(questions)

    @staticmethod
    def _each(questions: Sequence[Question], answer: Callable[[Claim, Passage], list[float]]) -> Answers:
        return [np.array([a for p in q.passages for a in answer(q.claim, p)], dtype=np.float64) for q in questions]


class Concepts(Masks):
    """Runs a claim's expression."""

    name = "concept"

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._lexicon = Lexicon()
        self._analysed = lru_cache(KEPT)(lambda document: Analysed(store.document(document), self._lexicon))
        self._expression = lru_cache(KEPT)(concept)

    def fits(self, claim: Claim) -> bool:
        """Whether there is an expression to run."""
        return bool(claim.concept)

    def mask(self, claim: Claim, passage: Passage) -> Bool[np.ndarray, " n"]:
        """The expression over the document, cut to the passage; over the token's own text where there is none."""
        expression = self._expression(claim.concept)
        if passage.document < 0:
            return expression.mask(_alone(passage.texts[0]))
        return expression.mask(self._analysed(passage.document))[passage.first : passage.first + len(passage)]


class TokenSet(Masks):
    """Holds a claim's token ids against those of the passage."""

    name = "tokens"

    def __init__(self, store: TokenStore) -> None:
        self._store = store

    def fits(self, claim: Claim) -> bool:
        """Always: an empty set holds on nothing."""
        return True

    def odd(self, questions: Sequence[Question]) -> Answers:
        """Of every ``SET`` texts, the one whose marked tokens are least often of the set."""
        return [shares.reshape(-1, SET).argmin(1).astype(np.float64) for shares in self.marked(questions)]

    def mask(self, claim: Claim, passage: Passage) -> Bool[np.ndarray, " n"]:
        """Whether each token is one of the set."""
        if passage.document < 0:
            ids = np.array([passage.first])
        else:
            start = self._store.token_offsets[passage.document] + passage.first
            ids = self._store.tokens[start : start + len(passage)].astype(np.int64)
        return np.isin(ids, list(claim.tokens))


def _alone(text: str) -> TokenisedDocument:
    """A document of one token."""
    return TokenisedDocument("a token", text, np.array([0]), np.array([0]), np.array([len(text.encode())]))
