"""Choosing examples: from the top and from every percentile group, no two alike, none from one document only.

Two places are alike when the tokens from 4 before to 4 after them are the same (compared by a 64-bit hash; text beyond
the document's ends counts as one further token). A group holds at most one of them, and at most 3 places of a
document. The top is taken in falling order of value; groups are visited in a pseudo-random order fixed by the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from jaxtyping import Integer
from numba import njit

from monoscope.catalogue.statistics import TOP, groups
from monoscope.text.rows import Rows

REACH = 4  # tokens on either side that make a context
PER_DOCUMENT = 3
VISITS_TOP, VISITS_GROUP = 8192, 1024  # a feature of one boilerplate line must not take forever
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Chooser:
    """What choosing needs besides the postings: the text, how many of each, and the seed."""

    tokens: Integer[np.ndarray, " n_rows"]
    offsets: Integer[np.ndarray, " n_documents_plus_1"]
    seed: int
    n_top: int = 20
    n_group: int = 6

    @classmethod
    def over(cls, rows: Rows, seed: int) -> Chooser:
        """A chooser over the tokens of these rows."""
        return cls(rows.tokens(), rows.offsets, seed)

    def choose(
        self, feature: int, rows: Integer[np.ndarray, " n_active"], order: Integer[np.ndarray, " n_active"]
    ) -> dict[str, Integer[np.ndarray, " n"]]:
        """For "top" and each percentile group, the chosen entries of a feature.

        Args:
            feature: its number, which enters the pseudo-random order.
            rows: its postings.
            order: its entries in ascending order of value.

        Returns:
            Entries (indices into ``rows``), from the largest value to the least.
        """
        strongest = order[::-1][:VISITS_TOP]
        chosen = {TOP: strongest[self._pick(rows[strongest], self.n_top, 0, 1, VISITS_TOP)]}
        for number, (name, (first, last)) in enumerate(groups(len(rows)).items()):
            members = order[first:last]
            start, stride = _walk(_mix(self.seed, feature, number), len(members))
            if len(members) > VISITS_GROUP:  # look up no more rows than will be visited
                members = members[(start + stride * np.arange(VISITS_GROUP)) % len(members)]
                start, stride = 0, 1
            picked = self._pick(rows[members], self.n_group, start, stride, VISITS_GROUP)
            ranks = np.flatnonzero(np.isin(order[first:last], members[picked], assume_unique=True))
            chosen[name] = order[first:last][ranks[::-1]]
        return chosen

    def first(self, rows: Integer[np.ndarray, " n"], wanted: int) -> Integer[np.ndarray, " n_chosen"]:
        """Indices into ``rows`` of the first places, in the order given, that are not alike."""
        return self._pick(rows, wanted, 0, 1, VISITS_TOP)

    def drawn(self, rows: Integer[np.ndarray, " n"], wanted: int, *purpose: int) -> Integer[np.ndarray, " n_chosen"]:
        """Indices into ``rows`` of places that are not alike, in an order fixed by the seed and ``purpose``."""
        start, stride = _walk(_mix(self.seed, *purpose), len(rows))
        return self._pick(rows, wanted, start, stride, VISITS_GROUP)

    def _pick(self, rows: np.ndarray, wanted: int, start: int, stride: int, visits: int) -> Integer[np.ndarray, " n"]:
        return _pick(rows.astype(np.int64), wanted, start, stride, visits, self.tokens, self.offsets)


def _mix(*numbers: int) -> int:
    """A 64-bit hash of integers (splitmix64), the same on every machine."""
    state = 0
    for number in numbers:
        state = (state + number + GOLDEN) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state


def _walk(random: int, length: int) -> tuple[int, int]:
    """A start and a stride that visit ``length`` places once each, in an order that looks random."""
    if length < 2:
        return 0, 1
    stride = 1 + (random >> 32) % (length - 1)
    while gcd(stride, length) != 1:
        stride += 1
    return (random & 0xFFFFFFFF) % length, stride


@njit(cache=True, nogil=True)
def _context(row, first, last, tokens):  # type: ignore[no-untyped-def]
    """A 64-bit hash (FNV-1a over token ids) of the tokens around a row of the document ``first:last``."""
    state = np.uint64(14695981039346656037)
    for r in range(row - REACH, row + REACH + 1):
        token = np.uint64(tokens[r]) + np.uint64(1) if first <= r < last else np.uint64(0)
        state = (state ^ token) * np.uint64(1099511628211)
        state ^= state >> np.uint64(29)
    return state


@njit(cache=True, nogil=True)
def _pick(rows, wanted, start, stride, visits, tokens, offsets):  # type: ignore[no-untyped-def]
    """Visit ``rows`` from ``start`` by ``stride``; the places of the first ``wanted`` that are not alike."""
    chosen = np.empty(wanted, np.int64)
    hashes = np.empty(wanted, np.uint64)
    documents = np.empty(wanted, np.int64)
    found, n = 0, len(rows)
    for i in range(min(n, visits)):
        if found == wanted:
            break
        place = (start + i * stride) % n
        document = np.searchsorted(offsets, rows[place], side="right") - 1
        state = _context(rows[place], offsets[document], offsets[document + 1], tokens)
        same = 0
        alike = False
        for j in range(found):
            same += documents[j] == document
            alike |= hashes[j] == state
        if not alike and same < PER_DOCUMENT:
            chosen[found], hashes[found], documents[found] = place, state, document
            found += 1
    return chosen[:found]
