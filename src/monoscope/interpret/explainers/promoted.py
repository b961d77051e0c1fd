"""What a feature promotes, as a class of tokens that can be run, chosen and judged apart from what it fires on.

Two kinds of evidence come with it. ``logit_class``: the class is chosen on half of the vocabulary and judged on the
other (``token_classes``). ``next_token``: in text that no explainer saw, the next token is of the class more often
where the feature fires than where the same token stands without it (``next_tokens``). Beside both stands the class of
another feature (``shuffled``); beside the first also what directions with shuffled coordinates come to
(``random_direction``), because the unembedding itself groups tokens by their spelling.

Where no class is beyond chance, tokens that stand out by themselves are named. Such a set says nothing of other
tokens, so only text can judge it. The vocabulary is the tokens of the split ``fit`` that are whole characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.directions import Head
from monoscope.catalogue.explanations import Explanation, Score
from monoscope.catalogue.store import Catalogue
from monoscope.concepts import token_literal
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate
from monoscope.interpret import token_classes, wording
from monoscope.interpret.explainers import PROMOTES, Task, Told
from monoscope.interpret.next_tokens import NextTokens
from monoscope.interpret.token_classes import NONE, Classes

ASKS = False
ANSWERS = (PROMOTES,)
NAME = "promoted"
LOGIT_CLASS, NEXT_TOKEN = "logit_class", "next_token"
BLOCK = 256  # features at once
STRANGERS = 256  # features, and shuffled directions, that the controls are drawn from
NO_CLASS = "no class of tokens, and no token, stands out among the logits that it raises"
SILENT = "it never fires"
FEW = "too few places of the split test where it is above half of its maximum"
A_SET = "a set of tokens says nothing of other tokens"


def explanations(task: Task) -> Iterator[Told]:
    """Name what every feature promotes.

    Raises:
        MonoscopeError: no model is at hand, or nothing linear leads from where the dictionary writes to logits.
    """
    work = _Work(task)
    fires = task.catalogue.index.counts() > 0
    for first in range(0, len(task.features), BLOCK):
        some = list(task.features[first : first + BLOCK])
        living = [f for f in some if fires[f]]
        found = list(work.found(living))
        told = [work.told(f) for f in found]
        failures = dict.fromkeys(some, SILENT) | dict.fromkeys(living, NO_CLASS)
        for f in found:
            del failures[f.feature]
        yield Told([e for e, _ in told], failures, [s for _, scores in told for s in scores])


@dataclass(frozen=True)
class _Found:
    """What a feature promotes: a class, or (``NONE``) some tokens, numbered among those of the vocabulary in use."""

    feature: int
    number: int
    tokens: Sequence[int]
    ranked: Float[np.ndarray, " n_judging"]  # of the tokens that judge


class _Work:
    """The vocabulary, its classes, and what features and controls do to it."""

    def __init__(self, task: Task) -> None:
        self._catalogue, self._seed = task.catalogue, task.seed
        self._head = _head(task.catalogue)
        rows = task.catalogue.rows
        met = np.unique(rows.tokens()[rows.in_split("fit")]).tolist()
        self._ids = np.array([t for t in met if _is_text(self._head.spellings[t])], dtype=np.int64)
        self._spellings = [s for t in self._ids.tolist() if (s := self._head.spellings[t]) is not None]
        self._classes: Classes = token_classes.classes(self._spellings, task.seed)
        self._pull = np.ascontiguousarray(self._head.pull[:, self._ids], dtype=np.float32)
        self._text = NextTokens(task.catalogue, task.seed)

    def _effects(self, directions: Float[np.ndarray, "f d_out"]) -> Float[np.ndarray, "f n_tokens"]:
        return np.asarray(directions, dtype=np.float32) @ self._pull

    def found(self, features: Sequence[int]) -> Iterator[_Found]:
        """What each of some features promotes; those of which nothing stands out are left out."""
        if not features:
            return
        effects = self._effects(self._catalogue.directions.rows[list(features)])
        judging = token_classes.ranks(effects[:, ~self._classes.chooses])
        for i, number in enumerate(token_classes.choose(effects, self._classes).tolist()):
            tokens = [] if number != NONE else token_classes.outstanding(effects[i])
            if number != NONE or tokens:
                yield _Found(features[i], number, tokens, judging[i])

    @cached_property
    def _pool(self) -> list[tuple[int, int]]:
        """Features with the number of their class, from which the shuffled control is drawn."""
        living = np.flatnonzero(self._catalogue.index.counts() > 0)
        some = np.random.default_rng((self._seed, 1)).permutation(living)[:STRANGERS].tolist()
        return [(f.feature, f.number) for f in self.found(some) if f.number != NONE]

    @cached_property
    def _random(self) -> dict[str, Any]:
        """What directions with their coordinates shuffled come to: how many have a class, and its mean area."""
        rng = np.random.default_rng((self._seed, 2))
        rows = self._catalogue.directions.rows
        some = rng.permutation(len(rows))[:STRANGERS]
        effects = self._effects(rng.permuted(rows[some], axis=1))
        judging = token_classes.ranks(effects[:, ~self._classes.chooses])
        numbers = token_classes.choose(effects, self._classes)
        areas = [
            float(token_classes.judge(judging[i], self._judging(numbers[i])).value or 0)
            for i in np.flatnonzero(numbers != NONE)
        ]
        return {"value": float(np.mean(areas)) if areas else None, "share": len(areas) / len(some), "of": len(some)}

    def _judging(self, number: int) -> Bool[np.ndarray, " n_judging"]:
        return self._classes.members[~self._classes.chooses, number]

    def _stranger(self, found: _Found) -> tuple[int, int] | None:
        """Another feature, and its class, which is another; drawn by the seed."""
        others = [one for one in self._pool if one[0] != found.feature and one[1] != found.number]
        return others[np.random.default_rng((self._seed, found.feature, 7)).integers(len(others))] if others else None

    def _mask(self, tokens: Int[np.ndarray, " n"] | Bool[np.ndarray, " n_tokens"]) -> Bool[np.ndarray, " vocabulary"]:
        mask = np.zeros(len(self._head.spellings), dtype=bool)
        mask[self._ids[tokens]] = True
        return mask

    def told(self, found: _Found) -> tuple[Explanation, list[Score]]:
        """An explanation with its two scores."""
        tokens = [self._spellings[t] for t in found.tokens]
        is_set = found.number == NONE
        expression = " | ".join(map(token_literal, tokens)) if is_set else self._classes.expressions[found.number]
        words = wording.tokens_in_words(tokens) if is_set else self._classes.words[found.number]
        detail = {
            "catalogue": self._catalogue.facts["key"], "promotes_concept": expression,
            "asked": list(ANSWERS), "seed": self._seed,
        }  # fmt: skip
        stranger = self._stranger(found)
        scores = [self._logit_class(found, stranger), self._next_token(found, stranger)]
        return Explanation(found.feature, NAME, "", words, detail), scores

    def _logit_class(self, found: _Found, stranger: tuple[int, int] | None) -> Score:
        if found.number == NONE:
            return self._score(found, LOGIT_CLASS, Estimate(), 0, {"why": A_SET})
        members = self._judging(found.number)
        controls: dict[str, Any] = {"random_direction": self._random}
        if stranger is not None:
            theirs = token_classes.judge(found.ranked, self._judging(stranger[1]))
            controls["shuffled"] = {**theirs.to_json(), "of": stranger[0]}
        detail = {"chance": 0.5, "tokens": int(members.sum()), "controls": controls}
        own = token_classes.judge(found.ranked, members)
        return self._score(found, LOGIT_CLASS, own, len(members), detail)

    def _next_token(self, found: _Found, stranger: tuple[int, int] | None) -> Score:
        pairs = self._text.pairs(found.feature)
        members = found.tokens if found.number == NONE else self._classes.members[:, found.number]
        own = self._text.compare(pairs, self._mask(np.asarray(members)))
        if own is None:
            return self._score(found, NEXT_TOKEN, Estimate(), 0, {"why": FEW})
        controls = {}
        if stranger is not None:
            theirs = self._text.compare(pairs, self._mask(self._classes.members[:, stranger[1]]))
            assert theirs is not None  # the places are the same
            controls["shuffled"] = {**theirs["difference"].to_json(), "of": stranger[0]}
        detail = {"chance": 0.0, "controls": controls, **{k: v for k, v in own.items() if k != "difference"}}
        return self._score(found, NEXT_TOKEN, own["difference"], own["pairs"], detail)

    def _score(self, found: _Found, scorer: str, e: Estimate, n: int, detail: dict[str, Any]) -> Score:
        return Score(found.feature, NAME, scorer, e.value, e.low, e.high, n, {"seed": self._seed, **detail})


def _is_text(spelling: bytes | None) -> bool:
    """Whether a token is whole characters."""
    try:
        return bool(spelling and spelling.decode())
    except UnicodeDecodeError:
        return False


def _head(catalogue: Catalogue) -> Head:
    """The direct way to the logits.

    Raises:
        MonoscopeError: there is none, or no model.
    """
    if catalogue.at_hand.head is None:
        raise MonoscopeError(
            "what features promote is read off the model, and none is at hand",
            where=str(catalogue.run),
            fix="run monoscope explain RUN --explainer promoted, or set catalogue.at_hand",
        )
    head = catalogue.at_hand.head()
    if head is None:
        raise MonoscopeError(
            f"nothing linear leads from {catalogue.facts['target']} of {catalogue.facts['model']} to logits",
            fix="choose another explainer",
        )
    return head
