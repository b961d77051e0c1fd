"""The table of features: searched, filtered, sorted, cut into windows; fast enough to scroll through a million rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from monoscope.catalogue.searching import Filters
from monoscope.errors import MonoscopeError, unknown_name

SORTS = {
    "relevance": None,
    "label_f1": "label_f1",
    "label_f1_low": "label_f1_low",
    "density": "density",
    "loss_effect": "loss_effect",
    "max": "max",
    "id": "id",
}
MATCHES = 2_000  # how many search results a table holds: more than a person reads, few enough to answer at once
LONGEST_WINDOW = 500
OF_FILES = ("vector",)  # ways to search that take a file, which pages do not read


@dataclass(frozen=True)
class Query:
    """What a table shows: what is found for ``q`` in the way ``by``, or all features that pass the filters."""

    q: str = ""
    sort: str = ""
    descending: bool = True
    filters: Filters = field(default_factory=Filters)
    by: str = "words"
    unlike: str = ""

    def __post_init__(self) -> None:
        if self.sort and self.sort not in SORTS:
            raise unknown_name("sort order", self.sort, SORTS)
        if self.by in OF_FILES:
            raise MonoscopeError("a vector is a file, which pages do not read", fix="search by vector in the terminal")


class FeatureTable:
    """Feature ids by query. Sorted orders and the latest query's ids are kept, so that scrolling only slices."""

    def __init__(self, catalogue: Any) -> None:
        """``catalogue`` offers ``features`` (columns), ``find`` and its length."""
        self._catalogue = catalogue
        self._columns: Mapping[str, np.ndarray] = {}
        self._orders: dict[tuple[str, bool], Int[np.ndarray, " n_features"]] = {}
        self._latest: tuple[Query, Int[np.ndarray, " n"]] | None = None

    def ids(self, query: Query) -> Int[np.ndarray, " n"]:
        """The ids of the features that a query asks for, in its order."""
        columns = self._catalogue.features
        if columns is not self._columns:  # new labels were written
            self._columns, self._orders, self._latest = columns, {}, None
        if self._latest is None or self._latest[0] != query:
            self._latest = query, self._select(query)
        return self._latest[1]

    def _select(self, query: Query) -> Int[np.ndarray, " n"]:
        sort = query.sort or ("relevance" if query.q else "label_f1_low")
        if not query.q:
            order = self._order("id" if sort == "relevance" else sort, query.descending and sort != "relevance")
            kept = query.filters.kept(self._columns)
            return order if kept is None else order[kept[order]]
        found = self._matches(query)
        if sort == "relevance":
            return found
        place = np.empty(len(self._catalogue), np.int64)
        place[self._order(sort, query.descending)] = np.arange(len(place))
        return found[np.argsort(place[found])]

    def _matches(self, query: Query) -> Int[np.ndarray, " n"]:
        """Search results, best first; a number finds the feature of that id before all else."""
        number = query.q.removeprefix("#")
        first = [int(number)] if number.isdecimal() and len(number) < 12 and int(number) < len(self._catalogue) else []
        kept = query.filters.kept(self._columns)
        first = [i for i in first if query.by == "words" and (kept is None or kept[i])]
        unlike = (query.unlike,) if query.unlike else ()
        hits = self._catalogue.find(query.q, query.by, unlike=unlike, limit=MATCHES, filters=query.filters)
        return np.array([*first, *(hit.id for hit in hits if hit.id not in first)], dtype=np.int64)

    def _order(self, sort: str, descending: bool) -> Int[np.ndarray, " n_features"]:
        """All ids by a column; features without a value come last either way, ties by id."""
        if (sort, descending) not in self._orders:
            values = np.asarray(self._columns[SORTS[sort] or "id"], dtype=float)
            self._orders[sort, descending] = np.argsort(-values if descending else values, kind="stable")
        return self._orders[sort, descending]
