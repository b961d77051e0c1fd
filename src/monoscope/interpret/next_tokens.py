"""What comes after a feature in text: how often the next token is of some class, beside the same tokens without it.

Places are tokens of the split ``test`` at which the feature is above half of its maximum on ``fit``. Each is paired
with a place of the same token, drawn at random, at which the feature does not fire. What the current token says of
the next one is the same on both sides, so a difference of shares is what goes with the feature.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.store import Catalogue
from monoscope.evaluate.intervals import Estimate, Resamples, Sampled

ABOVE = 0.5  # of the feature's maximum on fit
MOST = 1000  # places of a feature
LEAST, LEAST_DOCUMENTS = 20, 5
TRIES = 16  # draws for the other side of a pair
NUMBER = 400  # resamples of documents


class Pairs(NamedTuple):
    """Rows at which the feature fires, those without it that they are paired with, and how many found no partner."""

    rows: Int[np.ndarray, " n"]
    others: Int[np.ndarray, " n"]
    unpaired: int


class NextTokens:
    """The text of a catalogue's split ``test``, by current and by next token."""

    def __init__(self, catalogue: Catalogue, seed: int) -> None:
        self._catalogue, self._seed = catalogue, seed
        rows = catalogue.rows
        self._tokens = rows.tokens().astype(np.int64)
        self._fit = rows.in_split("fit")
        last = np.zeros(len(rows), bool)
        last[rows.offsets[1:][np.diff(rows.offsets) > 0] - 1] = True
        self._usable = rows.in_split("test") & ~last  # the last token of a document has no next one
        self._slots = rows.slots()

    @cached_property
    def _by_token(self) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n_ids_plus_1"]]:
        """The usable rows, token after token, and where each token's begin."""
        usable = np.flatnonzero(self._usable)
        order = usable[np.argsort(self._tokens[usable], kind="stable")]
        counts = np.bincount(self._tokens[usable], minlength=int(self._tokens.max(initial=0)) + 1)
        return order, np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def _weights(self) -> Float[np.ndarray, "r n_slots"]:
        """How often each resample holds each document of the split."""
        held = np.unique(self._slots[self._usable])
        weights = np.zeros((NUMBER, len(self._catalogue.rows.documents)))
        if len(held):
            weights[:, held] = np.concatenate(list(Resamples(len(held), self._seed, NUMBER).weights()))
        return weights

    def pairs(self, feature: int) -> Pairs:
        """A feature's places and their partners, drawn by the seed."""
        fires, values = self._catalogue.index.of(feature)
        most = float(values[self._fit[fires]].max(initial=0))
        strong = fires[(most > 0) & (values > ABOVE * most) & self._usable[fires]].astype(np.int64)
        rng = np.random.default_rng((self._seed, feature, 11))
        rows = np.sort(rng.permutation(strong)[:MOST])
        order, starts = self._by_token
        first, stop = starts[self._tokens[rows]], starts[self._tokens[rows] + 1]
        others = np.full(len(rows), -1, dtype=np.int64)
        for _ in range(TRIES):
            open_ = np.flatnonzero(others < 0)
            if not len(open_):
                break
            drawn = order[rng.integers(first[open_], stop[open_])]
            silent = fires[np.searchsorted(fires, drawn.astype(fires.dtype)).clip(max=len(fires) - 1)] != drawn
            others[open_[silent]] = drawn[silent]
        found = others >= 0
        return Pairs(rows[found], others[found], int((~found).sum()))

    def compare(self, pairs: Pairs, member: Bool[np.ndarray, " vocabulary"]) -> dict[str, Any] | None:
        """The share of next tokens that are of a class, without and with the feature; their difference, with intervals.

        Returns:
            ``difference`` (an ``Estimate``), ``share``, ``matched``, ``ratio`` (None where nothing matched is of the
            class), ``pairs``, ``unpaired`` and ``documents``; None where there are too few places to say.
        """
        slots, n_slots = self._slots[pairs.rows], self._weights.shape[1]
        documents = len(np.unique(slots))
        if len(pairs.rows) < LEAST or documents < LEAST_DOCUMENTS:
            return None
        sides = [member[self._tokens[side + 1]].astype(np.float64) for side in (pairs.rows, pairs.others)]
        sums = np.stack([np.bincount(slots, w, n_slots) for w in (*sides, np.ones(len(slots)))], axis=1)
        drawn = self._weights @ sums
        with np.errstate(invalid="ignore", divide="ignore"):
            resampled = (drawn[:, 0] - drawn[:, 1]) / drawn[:, 2]
        share, matched, n = sums.sum(0).tolist()
        difference: Estimate = Sampled((share - matched) / n, resampled, documents).estimate()
        return {
            "difference": difference, "share": share / n, "matched": matched / n,
            "ratio": share / matched if matched else None,
            "pairs": int(n), "unpaired": pairs.unpaired, "documents": documents,
        }  # fmt: skip
