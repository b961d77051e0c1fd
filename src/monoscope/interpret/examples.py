"""What of a feature is shown to whoever is to explain it: as in *Towards Monosemanticity*, from the split ``fit`` only.

Its strongest firings; some from each of twelve equal shares of its firings, strongest first; texts taken at random; its
top tokens by themselves; and, beyond the paper, *contrasts*: texts that hold the same tokens, on which the feature is
silent. That it is silent is read off the index, which holds every value of every token, for every token that is shown.

No document of another split is touched, so that explanations can be scored there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.examples import Chooser
from monoscope.catalogue.rendering import shown
from monoscope.catalogue.store import Catalogue
from monoscope.catalogue.top_tokens import TokenCounter
from monoscope.errors import MonoscopeError
from monoscope.text.rows import Rows

FIT = "fit"
LEVELS = 9  # activations are told as 0 (silent) to 9 (the feature's maximum)
SPARE = 4  # places drawn for each that is wanted: some overlap others
CONTRAST_TOKENS = 20  # tokens whose other occurrences are looked through for contrasts
CONTRAST_TRIES = 64  # of the occurrences of each
TOP, RANDOM, CONTRAST = "top", "random", "contrast"


@dataclass(frozen=True)
class Sizes:
    """How many examples of each kind; the paper's 49 are 10 + 12 · 2 + 5 + 10, contrasts come on top.

    Args:
        top: of the strongest firings.
        intervals: shares of all firings, by rank.
        each: of every share.
        random: texts taken at random.
        alone: top tokens, by themselves.
        contrast: silent texts that hold the same tokens.
        before: tokens shown before the one that was chosen.
        after: tokens after it.
    """

    top: int = 10
    intervals: int = 12
    each: int = 2
    random: int = 5
    alone: int = 10
    contrast: int = 6
    before: int = 12
    after: int = 4


@dataclass(frozen=True)
class Passage:
    """Some tokens of a document, as shown, with the feature's level on each.

    ``first`` is the position of the first, ``centre`` the place (0, 1, …) of the one that the passage was chosen for.
    """

    document: int
    first: int
    texts: tuple[str, ...]
    levels: tuple[int, ...]
    centre: int


@dataclass(frozen=True)
class Alone:
    """A token by itself, and the feature's level on it: the mean over all its occurrences, silent ones included."""

    text: str
    level: int


@dataclass(frozen=True)
class Shown:
    """Everything that is shown of a feature: passages by kind (``top``, the shares ``1``, ``2``, … from the strongest,
    ``random``, ``contrast``), and tokens.
    """  # fmt: skip

    feature: int
    passages: dict[str, list[Passage]]
    tokens: list[Alone]

    def documents(self) -> list[int]:
        """The documents of all passages, ascending, each once."""
        return sorted({p.document for several in self.passages.values() for p in several})

    def __len__(self) -> int:
        """The examples, without contrasts."""
        return len(self.tokens) + sum(len(found) for kind, found in self.passages.items() if kind != CONTRAST)


class Gallery:
    """Chooses what is shown of the features of a catalogue. Only from its split ``fit``; the same seed shows the same.

    What depends on the text alone is counted once, when it is first needed.
    """

    def __init__(self, catalogue: Catalogue, sizes: Sizes | None = None, *, seed: int = 0) -> None:
        """Prepare to show features.

        Raises:
            MonoscopeError: the catalogue holds no document of the split ``fit``.
        """
        self.catalogue, self.sizes, self.seed = catalogue, sizes or Sizes(), seed
        self._usable: Bool[np.ndarray, " n_rows"] = catalogue.rows.in_split(FIT)
        if not self._usable.any():
            raise MonoscopeError(
                "the catalogue holds no text of the split 'fit', which is what explainers may see",
                where=str(catalogue.run),
                fix="build the catalogue over the splits fit and test",
            )

    @cached_property
    def _rows(self) -> Rows:
        return self.catalogue.rows

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser.over(self._rows, self.seed)

    @cached_property
    def _fit(self) -> Int[np.ndarray, " n_fit"]:
        """The rows that may be shown."""
        return np.flatnonzero(self._usable)

    @cached_property
    def _counter(self) -> TokenCounter:
        tokens = self._chooser.tokens
        return TokenCounter(tokens, np.bincount(tokens[self._fit], minlength=int(tokens.max()) + 1))

    @cached_property
    def _by_token(self) -> tuple[Int[np.ndarray, " n_fit"], Int[np.ndarray, " vocabulary_plus_1"]]:
        """The rows that may be shown, token by token, and where those of each token begin."""
        tokens = self._chooser.tokens[self._fit]
        counts = np.bincount(tokens, minlength=int(self._chooser.tokens.max()) + 1)
        return self._fit[np.argsort(tokens, kind="stable")], np.concatenate([[0], np.cumsum(counts)])

    def _rows_of(self, token: int) -> Int[np.ndarray, " n"]:
        """The rows of a token that may be shown, ascending."""
        by_row, starts = self._by_token
        return by_row[starts[token] : starts[token + 1]]

    def firings(self, feature: int) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The rows of the split on which a feature fires, ascending, and its values there."""
        rows, values = self.catalogue.index.of(feature)
        kept = self._usable[rows] & (values > 0)
        return rows[kept].astype(np.int64), values[kept]

    def show(self, feature: int) -> Shown | None:
        """What is shown of a feature; None where it never fires on the split."""
        rows, values = self.firings(feature)
        if len(rows) == 0:
            return None
        most = float(values.max())
        taken = _Taken(self, feature, most)
        falling = rows[np.argsort(-values, kind="stable")]
        sizes = self.sizes
        passages = {TOP: taken.take(falling[self._chooser.first(falling, SPARE * sizes.top)], sizes.top)}
        for number, (first, last) in enumerate(_shares(len(falling), sizes.intervals), 1):
            share = falling[first:last]
            drawn = share[self._chooser.drawn(share, SPARE * sizes.each, feature, number)]
            passages[str(number)] = taken.take(drawn, sizes.each)
        drawn = self._fit[self._chooser.drawn(self._fit, SPARE * sizes.random, feature, 1000)]
        passages[RANDOM] = taken.take(drawn, sizes.random)
        tokens, weights, _ = self._counter.top(rows, values, sizes.alone)[0]
        passages[CONTRAST] = taken.take(self._near(feature, rows, values, passages[TOP]), sizes.contrast, silent=True)
        alone = [
            Alone(self._spelling(t), round(LEVELS * w / most))
            for t, w in zip(tokens.tolist(), weights.tolist(), strict=True)
        ]
        return Shown(feature, passages, alone)

    def heaviest(self, feature: int, wanted: int, least: float) -> list[bytes]:
        """The spellings of the tokens that carry most of the sum of a feature's values, each at least a share of it.

        The first is given however little it carries; none where the feature never fires on the split.
        """
        tokens, shares, _ = self._counter.top(*self.firings(feature), wanted)[1]
        kept = tokens[(shares >= least) | (np.arange(len(tokens)) == 0)]
        return [self._bytes(token) for token in kept.tolist()]

    def _bytes(self, token: int) -> bytes:
        (document,), (position,) = self._rows.locate(self._rows_of(token)[:1])
        return self.catalogue.store.excerpt(int(document), int(position), int(position) + 1)[0]

    def _near(
        self, feature: int, rows: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"], top: Sequence[Passage]
    ) -> Iterator[int]:
        """Rows that hold the tokens that the feature fires on, then those that stand around its strongest firings."""
        heaviest = self._counter.top(rows, values, CONTRAST_TOKENS)[1].tokens.tolist()
        yield from self._occurrences(feature, heaviest)
        offsets, tokens = self.catalogue.store.token_offsets, self.catalogue.store.tokens
        starts = [int(offsets[p.document]) + p.first for p in top]
        around = {int(t) for start, p in zip(starts, top, strict=True) for t in tokens[start : start + len(p.texts)]}
        yield from self._occurrences(feature, sorted(around - set(heaviest)))

    def _occurrences(self, feature: int, tokens: Sequence[int]) -> Iterator[int]:
        """Rows of some tokens, in turns."""
        lists = []
        for token in tokens:
            found = self._rows_of(token)
            lists.append(found[self._chooser.drawn(found, CONTRAST_TRIES, feature, 2000, token)].tolist())
        for turn in zip_longest(*lists):
            yield from (row for row in turn if row is not None)

    def _spelling(self, token: int) -> str:
        """A token as its first occurrence shows it."""
        row = int(self._rows_of(token)[0])
        slot = int(np.searchsorted(self._rows.offsets, row, side="right")) - 1
        return self._texts(slot, row, row + 1)[0]

    def _texts(self, slot: int, first: int, last: int) -> list[str]:
        """The tokens of rows ``first`` to ``last`` (exclusive), which are of the document in this place."""
        store, document = self.catalogue.store, int(self._rows.documents[slot])
        base, stop = int(store.token_offsets[document]), int(store.token_offsets[document + 1])
        start = int(self._rows.offsets[slot])
        starts, ends = np.asarray(store.starts[base:stop]), np.asarray(store.ends[base:stop])
        return shown(store.text(document), starts, ends, first - start, last - start)

    def passage(self, feature: int, row: int, most: float) -> Passage:
        """The window around a row, with the feature's levels."""
        first, last = self.window(row)
        slot = int(np.searchsorted(self._rows.offsets, first, side="right")) - 1
        values = self.catalogue.index.dense(feature, first, last)
        levels = tuple(level(value, most) for value in values.tolist())
        position = first - int(self._rows.offsets[slot])
        return Passage(
            int(self._rows.documents[slot]), position, tuple(self._texts(slot, first, last)), levels, row - first
        )

    def window(self, row: int) -> tuple[int, int]:
        """The rows shown around one, within its document."""
        slot = int(np.searchsorted(self._rows.offsets, row, side="right")) - 1
        low, high = int(self._rows.offsets[slot]), int(self._rows.offsets[slot + 1])
        return max(low, row - self.sizes.before), min(high, row + self.sizes.after + 1)


class _Taken:
    """The windows of one feature that are shown so far; none overlaps another."""

    def __init__(self, gallery: Gallery, feature: int, most: float) -> None:
        self._gallery, self._feature, self._most = gallery, feature, most
        self._windows: list[tuple[int, int]] = []

    def take(self, rows: Iterable[int], wanted: int, *, silent: bool = False) -> list[Passage]:
        """The first ``wanted`` windows around rows that overlap no other; if asked, those alone where all is 0."""
        taken: list[Passage] = []
        if wanted == 0:
            return taken
        for row in rows:
            first, last = self._gallery.window(int(row))
            if any(first < b and a < last for a, b in self._windows):
                continue
            if silent and len(self._gallery.catalogue.index.between(self._feature, first, last)[0]):
                continue
            self._windows.append((first, last))
            taken.append(self._gallery.passage(self._feature, int(row), self._most))
            if len(taken) == wanted:
                break
        return taken


def level(value: float, most: float) -> int:
    """A value as 0 to 9: 0 where the feature is silent alone, 9 at its maximum."""
    return min(LEVELS, max(1, round(LEVELS * value / most))) if value > 0 else 0


def _shares(n: int, shares: int) -> list[tuple[int, int]]:
    """``n`` ranks in so many equal shares: (first, last exclusive)."""
    return [(n * i // shares, n * (i + 1) // shares) for i in range(shares)]
