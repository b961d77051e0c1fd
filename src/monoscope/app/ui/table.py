"""The table of all features: filtered, sorted and cut into windows, fast enough to scroll through 100,000 rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

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
KINDS = ("", "token", "context", "none")
MATCHES = 2_000  # how many search results a table holds: more than a person reads, few enough to answer at once
LONGEST_WINDOW = 500


@dataclass(frozen=True)
class Query:
    """What a table shows. ``kind`` is ``""`` for all, ``"token"``, ``"context"`` or ``"none"`` (no label)."""

    q: str = ""
    sort: str = ""
    descending: bool = True
    kind: str = ""
    min_f1: float = 0.0
    min_density: float = 0.0
    max_density: float = 1.0

    def __post_init__(self) -> None:
        if self.sort and self.sort not in SORTS:
            raise unknown_name("sort order", self.sort, SORTS)
        if self.kind not in KINDS:
            raise unknown_name("kind of label", self.kind, [k for k in KINDS if k])
        if not self.min_density <= self.max_density:
            raise MonoscopeError(
                f"no density lies between {self.min_density:g} and {self.max_density:g}", fix="swap the two bounds"
            )


class FeatureTable:
    """Feature ids by query. Sorted orders and the latest query's ids are kept, so that scrolling only slices."""

    def __init__(self, catalogue: Any) -> None:
        """``catalogue`` offers ``features`` (columns) and ``search``."""
        self._catalogue = catalogue
        self._columns: Mapping[str, np.ndarray] = {}
        self._orders: dict[tuple[str, bool], Int[np.ndarray, " n_features"]] = {}
        self._latest: tuple[Query, Int[np.ndarray, " n"]] | None = None

    def ids(self, query: Query) -> Int[np.ndarray, " n"]:
        """The ids of the features that a query asks for, in its order."""
        columns = self._catalogue.features
        if any(columns[name] is not self._columns.get(name) for name in columns):  # new labels were written
            self._columns, self._orders, self._latest = columns, {}, None
        if self._latest is None or self._latest[0] != query:
            self._latest = query, self._select(query)
        return self._latest[1]

    def _select(self, query: Query) -> Int[np.ndarray, " n"]:
        kept = self._kept(query)
        sort = query.sort or ("relevance" if query.q else "label_f1_low")
        if not query.q:
            order = self._order("id" if sort == "relevance" else sort, query.descending and sort != "relevance")
            return order[kept[order]]
        found = self._matches(query.q)
        found = found[kept[found]]
        if sort == "relevance":
            return found
        place = np.empty(len(kept), np.int64)
        place[self._order(sort, query.descending)] = np.arange(len(kept))
        return found[np.argsort(place[found])]

    def _matches(self, q: str) -> Int[np.ndarray, " n"]:
        """Search results, best first; a number finds the feature of that id before all else."""
        number = q.strip().removeprefix("#")
        first = [int(number)] if number.isdecimal() and len(number) < 12 and int(number) < len(self._catalogue) else []
        hits = [int(hit.id) for hit in self._catalogue.search(q, limit=MATCHES)]
        return np.array([*first, *(i for i in hits if i not in first)], dtype=np.int64)

    def _kept(self, query: Query) -> Bool[np.ndarray, " n_features"]:
        columns = self._columns
        density = np.asarray(columns["density"])
        kept = (density >= query.min_density) & (density <= query.max_density)
        if query.kind:
            kept &= np.asarray(columns["label_kind"]) == (query.kind if query.kind != "none" else "")
        if query.min_f1 > 0:
            kept &= np.nan_to_num(np.asarray(columns["label_f1"], dtype=float), nan=-1.0) >= query.min_f1
        return kept

    def _order(self, sort: str, descending: bool) -> Int[np.ndarray, " n_features"]:
        """All ids by a column; features without a value come last either way, ties by id."""
        if (sort, descending) not in self._orders:
            values = np.asarray(self._columns[SORTS[sort] or "id"], dtype=float)
            self._orders[sort, descending] = np.argsort(-values if descending else values, kind="stable")
        return self._orders[sort, descending]
