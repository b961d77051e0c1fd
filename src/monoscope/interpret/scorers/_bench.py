"""What scorers examine features on: places of the split ``test``, looked up in the catalogue's exact index.

No document of this split chose a label or was shown to an explainer. A quiet passage is one on which the index holds no
value of the feature for any token, not one that happened not to be among its examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.rendering import shown
from monoscope.catalogue.store import Catalogue
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.interpret.judges import Passage
from monoscope.models import LanguageModel

FIT, TEST = "fit", "test"
GROUPS = 10  # active passages are drawn from so many equal shares of the feature's values
LEAST = 5  # passages of each kind below which nothing is examined
TRIES = 64  # places that are tried for each passage wanted


@dataclass(frozen=True)
class Span:
    """Consecutive rows of one document; ``group`` says from where it was drawn, ``marks`` are rows to look at."""

    first: int
    last: int
    group: str = ""
    marks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bench:
    """A catalogue, and how it is sampled.

    Args:
        catalogue: whose features are examined.
        seed: of every draw; the same seed draws the same passages.
        lm: the model, for scorers that run it.
        dictionary: its features, for the same.
        width: tokens of a passage.
        active: passages in which the feature fires.
        quiet: passages in which it does not.
        above: the feature counts as firing above this share of its largest value; below it, but above 0, a token is
            neither active nor quiet.
        split: whose documents are used.
        barred: documents (of the store) that no passage may come from, because an explainer saw them.
    """

    catalogue: Catalogue
    seed: int = 0
    lm: LanguageModel | None = None
    dictionary: Dictionary | None = None
    width: int = 32
    active: int = 20
    quiet: int = 20
    above: float = 0.0
    split: str = TEST
    barred: frozenset[int] = frozenset()

    @cached_property
    def usable(self) -> Bool[np.ndarray, " n_rows"]:
        """The rows that passages may hold.

        Raises:
            MonoscopeError: there are none.
        """
        rows = self.catalogue.rows
        kept = np.array([d not in self.barred for d in rows.documents.tolist()], dtype=bool)
        usable: np.ndarray = rows.in_split(self.split) & np.repeat(kept, np.diff(rows.offsets))
        if not usable.any():
            raise MonoscopeError(
                f"no document of the split {self.split!r} is left to score explanations on",
                fix="catalogue both splits, fit and test; explain on fit",
            )
        return usable

    @cached_property
    def places(self) -> Int[np.ndarray, " n"]:
        """The numbers of the usable rows."""
        return np.flatnonzero(self.usable)

    @cached_property
    def tokens(self) -> Int[np.ndarray, " n_rows"]:
        """The token id of every row."""
        return self.catalogue.rows.tokens().astype(np.int64)

    def rng(self, feature: int, *purpose: int) -> np.random.Generator:
        """Random numbers that depend on the seed, the feature and what they are for."""
        return np.random.default_rng((self.seed, feature, *purpose))

    def firings(self, feature: int) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The usable rows on which a feature fires (above the share of its maximum), and its values there."""
        rows, values = self.catalogue.index.of(feature)
        kept = (values > self.least(values)) & self.usable[rows]
        return rows[kept].astype(np.int64), values[kept]

    def least(self, values: Float[np.ndarray, " n"]) -> float:
        """Above what value a feature counts as firing, given all its values."""
        return self.above * float(values.max(initial=0))

    def values(self, feature: int, span: Span) -> Float[np.ndarray, " n"]:
        """The feature's value on every token of a passage, 0 where it is off."""
        return np.maximum(self.catalogue.index.dense(feature, span.first, span.last), 0)

    def window(self, row: int, before: int, width: int) -> tuple[int, int]:
        """``width`` rows around a row, ``before`` of them before it, shifted into its document as far as it reaches."""
        offsets = self.catalogue.rows.offsets
        slot = int(np.searchsorted(offsets, row, side="right")) - 1
        low, high = int(offsets[slot]), int(offsets[slot + 1])
        first = max(low, min(row - before, high - width))
        return first, min(high, first + width)

    def passages(self, spans: Iterable[Span]) -> tuple[Passage, ...]:
        """The spans as judges see them."""
        return tuple(self._passage(span) for span in spans)

    def documents(self, spans: Iterable[Span]) -> Int[np.ndarray, " n"]:
        """The document of each span, as the store numbers it."""
        firsts = np.array([span.first for span in spans], dtype=np.int64)
        return self.catalogue.rows.locate(firsts)[0]

    def _passage(self, span: Span) -> Passage:
        store = self.catalogue.store
        (document,), (first,) = self.catalogue.rows.locate(np.array([span.first]))
        base, stop = int(store.token_offsets[document]), int(store.token_offsets[document + 1])
        texts = shown(
            store.text(int(document)), store.starts[base:stop], store.ends[base:stop],
            int(first), int(first) + span.last - span.first,
        )  # fmt: skip
        return Passage(int(document), int(first), tuple(texts), tuple(row - span.first for row in span.marks))


class Drawn:
    """Spans that do not overlap, drawn one after another."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def take(self, candidates: Iterator[Span], wanted: int) -> None:
        """Add the first ``wanted`` candidates that overlap none taken before."""
        for span in candidates:
            if wanted == 0:
                return
            if all(span.last <= other.first or other.last <= span.first for other in self.spans):
                self.spans.append(span)
                wanted -= 1


def active_spans(bench: Bench, feature: int, rng: np.random.Generator) -> list[Span]:
    """Passages in which the feature fires, as many from each tenth of its values; where in the passage is random."""
    rows, values = bench.firings(feature)
    shares = np.array_split(rows[np.argsort(values, kind="stable")], GROUPS)
    drawn = Drawn()
    for i, members in enumerate(shares):
        wanted = (i + 1) * bench.active // GROUPS - i * bench.active // GROUPS
        picked = rng.permutation(members)[: TRIES * wanted]
        drawn.take((Span(*_around(bench, int(row), rng), group=str(i)) for row in picked), wanted)
    return drawn.spans


def quiet_spans(bench: Bench, feature: int, rng: np.random.Generator, taken: list[Span]) -> list[Span]:
    """Passages in which the feature fires on no token, none overlapping another or those taken."""
    drawn = Drawn()
    drawn.spans = list(taken)
    picked = rng.choice(bench.places, TRIES * bench.quiet)
    candidates = (Span(*_around(bench, int(row), rng), group="quiet") for row in picked)
    drawn.take((s for s in candidates if is_quiet(bench, feature, s)), bench.quiet)
    return drawn.spans[len(taken) :]


def is_quiet(bench: Bench, feature: int, span: Span) -> bool:
    """Whether the index holds no value above 0 on any row of the span."""
    return not bool((bench.catalogue.index.between(feature, span.first, span.last)[1] > 0).any())


def _around(bench: Bench, row: int, rng: np.random.Generator) -> tuple[int, int]:
    return bench.window(row, int(rng.integers(bench.width)), bench.width)
