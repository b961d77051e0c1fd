"""Searching a catalogue: one query, in one of several ways, among the features that pass some filters.

A file of ``searches`` is a way. Python, the command line and the pages ask through ``find`` and get the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope import plugins
from monoscope.catalogue.columns import Columns
from monoscope.catalogue.records import Hit
from monoscope.catalogue.searches import PACKAGE, ways
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import Code

if TYPE_CHECKING:
    from monoscope.catalogue.directions import Head
    from monoscope.catalogue.store import Catalogue

KINDS = ("", "token", "context", "none")
Range = tuple[float, float]
EVERYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class Filters:
    """Which features are asked for. A range holds both its ends; a feature without the number is outside any range.

    Args:
        density: the fraction of tokens on which it fires.
        max: its largest value.
        median: the median of its values where it fires.
        loss_effect: how much the loss rises without it, in nats.
        f1: the F1 of its label.
        f1_low: the lower end of that F1's interval.
        kind: its label's: "token", "context", "none" for features without a label, "" for all.
        living: leave out features that never fire.
    """

    density: Range = EVERYTHING
    max: Range = EVERYTHING
    median: Range = EVERYTHING
    loss_effect: Range = EVERYTHING
    f1: Range = EVERYTHING
    f1_low: Range = EVERYTHING
    kind: str = ""
    living: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of label", self.kind, [k for k in KINDS if k])
        for name, (low, high) in self._ranges().items():
            if not low <= high:
                raise MonoscopeError(f"no {name} lies between {low:g} and {high:g}", fix="swap the two bounds")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Filters:
        """Filters by name.

        Raises:
            MonoscopeError: there is no filter of some name, or a range is no two numbers.
        """
        known = [f.name for f in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise unknown_name("filter", name, known)
            if name not in ("kind", "living") and not _two_numbers(value):
                raise MonoscopeError(f"{name} is filtered by two numbers, not {value!r}", fix=f"write {name}=(0, 1)")
        return cls(**given)

    def _ranges(self) -> dict[str, Range]:
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("kind", "living")}
        return {name: value for name, value in named.items() if value != EVERYTHING}

    def kept(self, columns: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " n_features"] | None:
        """True on the features that pass; None where all do, unasked."""
        tests: list[Bool[np.ndarray, " n_features"]] = []
        for name, (low, high) in self._ranges().items():
            column = np.asarray(columns[f"label_{name}" if name.startswith("f1") else name])
            if low > -math.inf:
                tests.append(column >= low)
            if high < math.inf:
                tests.append(column <= high)
        if self.kind:
            kind = "" if self.kind == "none" else self.kind
            held = columns.of_kind(kind) if isinstance(columns, Columns) else np.asarray(columns["label_kind"]) == kind
            tests.append(held)
        if self.living:
            tests.append(np.asarray(columns["density"]) > 0)
        return np.logical_and.reduce(tests) if tests else None


def _two_numbers(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and len(value) == 2 and all(isinstance(v, Real) for v in value)


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Args:
        what: words, texts, a token, a concept's expression, a feature's number or a vector, as the way takes it.
        by: the way: a file of ``searches``, or a module elsewhere by its dotted name.
        unlike: texts on which the features sought do not fire (``by="text"``).
        filters: which features are asked for at all.
        limit: how many at most.
    """

    what: Any = ""
    by: str = "words"
    unlike: tuple[str, ...] = ()
    filters: Filters = field(default_factory=Filters)
    limit: int = 20

    def __post_init__(self) -> None:
        if not isinstance(self.limit, Integral) or self.limit < 0:
            raise MonoscopeError(f"a search for {self.limit} features", fix="ask for one or more")
        if self.unlike and self.by != "text":
            raise MonoscopeError(f"a search by {self.by} takes no texts to tell apart from", fix="search by text")


@dataclass(frozen=True)
class AtHand:
    """What a search may need beside the catalogue; each is called when it is needed, and None where it cannot be had.

    Args:
        read: a text → its code in parts, a row per token.
        pull: a token as text → the vector whose product with a feature's direction is what the feature adds to the
            token's logit per unit of its value; None where no linear path leads to the logits.
        head: the direct way to all logits at once, and the vocabulary; gives None where ``pull`` does.
        embedder: the folder of the model that turns sentences into vectors; None looks for one that is installed.
    """

    read: Callable[[str], Iterable[Code]] | None = None
    pull: Callable[[str], Float[np.ndarray, " d_out"] | None] | None = None
    embedder: str | None = None
    head: Callable[[], Head | None] | None = None


class Found(NamedTuple):
    """Features with their scores, best first."""

    ids: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]


def find(catalogue: Catalogue, query: Query) -> list[Hit]:
    """The features that a query asks for, best first, at most ``query.limit``.

    Raises:
        MonoscopeError: there is no such way, or the way cannot take the query; its file says what it takes.
    """
    if "." not in query.by and query.by not in ways():
        raise unknown_name("way to search", query.by, ways())
    way = plugins.load(PACKAGE, query.by)
    kept = query.filters.kept(catalogue.features)
    if query.limit == 0 or (kept is not None and not kept.any()):
        return []
    found: Found = way.search(query, catalogue, kept)
    return catalogue.hits(found.ids[: query.limit], found.scores[: query.limit])


def best(scores: Float[np.ndarray, " n_features"], kept: Bool[np.ndarray, " n_features"] | None, limit: int) -> Found:
    """The largest scores among the kept features, ties by number; a feature whose score is NaN is left out."""
    asked = ~np.isnan(scores) if kept is None else kept & ~np.isnan(scores)
    ids = np.flatnonzero(asked)
    if len(ids) > limit > 0:
        least = np.partition(scores[ids], len(ids) - limit)[len(ids) - limit]
        ids = ids[scores[ids] >= least]
    ids = ids[np.argsort(-scores[ids], kind="stable")][:limit]
    return Found(ids, scores[ids].astype(np.float64))


def one_text(query: Query, what: str) -> str:
    """The query as one text.

    Raises:
        MonoscopeError: it is something else.
    """
    if not isinstance(query.what, str):
        raise MonoscopeError(f"a search by {query.by} takes {what}, not {type(query.what).__name__}")
    return query.what


def texts(given: Any) -> Sequence[str]:
    """One text or several, as several."""
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not all(isinstance(text, str) for text in several):
        raise MonoscopeError("a search by text takes one text or several", fix="give a str, or a list of them")
    return several
