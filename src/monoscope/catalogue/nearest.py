"""The rows nearest to a vector among very many, exactly: a scan of rounded rows, then the few that may win as they are.

Every row ``x`` is kept with unit length, rounded to 8 bits: ``x̂ = scale · integers``, with ``slack = ‖x − x̂‖``. For a
query ``q`` of unit length Cauchy and Schwarz give ``|q·x − q·x̂| ≤ slack``, so a scan over ``q·x̂`` bounds every score
from below and above. With ``t`` the k-th best lower bound, only rows whose upper bound reaches ``t`` can be among the k
best; their scores are computed from the rows themselves, in double precision. Nothing is lost, whatever the rows are:
recall is 1 by construction. At a million rows of 512 numbers some hundred are computed anew.

A folder of flat arrays, memory-mapped: ``units.i8`` ``(n, d)``, ``rows.f32`` ``(n, d)``, ``numbers.f32`` ``(n, 3)``
(scale, slack, length).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int8
from numba import njit

from monoscope import folder
from monoscope.catalogue.searching import Found
from monoscope.catalogue.spool import flat
from monoscope.errors import MonoscopeError

KIND = "rows to search"
FILES = ("units.i8", "rows.f32", "numbers.f32")
BLOCK = 256  # rows whose best bound is noted
WRITTEN = 1 << 14  # rows rounded at once
LARGEST = 127
COMPUTED = 1 << 12  # rows whose scores are computed at once
EMPTY: Bool[np.ndarray, " 0"] = np.zeros(0, bool)


class Rounded(NamedTuple):
    """Rows of unit length in 8 bits: ``units · scale``; how far off each is, and how long the row was."""

    units: Int8[np.ndarray, "n d"]
    scale: Float32[np.ndarray, " n"]
    slack: Float32[np.ndarray, " n"]
    length: Float32[np.ndarray, " n"]


def rounded(rows: Float[np.ndarray, "n d"]) -> Rounded:
    """Round rows; one of length 0 stays 0."""
    exact = rows.astype(np.float64)
    length = np.sqrt((exact**2).sum(1))
    unit = exact / np.where(length > 0, length, 1)[:, None]
    scale = (np.abs(unit).max(1, initial=0) / LARGEST).astype(np.float32)
    units = np.rint(unit / np.where(scale > 0, scale, 1)[:, None]).clip(-LARGEST, LARGEST).astype(np.int8)
    slack = np.sqrt(((unit - units * scale.astype(np.float64)[:, None]) ** 2).sum(1))
    return Rounded(units, scale, np.nextafter(slack.astype(np.float32), np.float32(np.inf)), length.astype(np.float32))


class Nearest:
    """Rows to search; safe to use from several threads."""

    def __init__(self, rows: Float32[np.ndarray, "n d"], made: Rounded) -> None:
        self.rows, self._made = rows, made

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.rows.shape[1]

    @classmethod
    def of(cls, rows: Float32[np.ndarray, "n d"]) -> Nearest:
        """Over rows in memory."""
        return cls(rows, rounded(rows))

    @classmethod
    def open(cls, path: Path) -> Nearest:
        """Over the rows of a folder.

        Raises:
            MonoscopeError: it is missing, incomplete or damaged.
        """
        width = folder.unseal(path, KIND)["width"]
        units, rows, numbers = (
            flat(path / name, dtype).reshape(-1, columns)
            for name, dtype, columns in zip(FILES, (np.int8, np.float32, np.float32), (width, width, 3), strict=True)
        )
        return cls(rows, Rounded(units, *np.ascontiguousarray(numbers.T)))

    def best(
        self,
        query: Float[np.ndarray, " d"],
        limit: int,
        kept: Bool[np.ndarray, " n"] | None = None,
        *,
        lengths: bool = False,
    ) -> Found:
        """The kept rows of largest cosine with the query, or with ``lengths`` of largest product, ties by number.

        Raises:
            MonoscopeError: the query has another width, or is no direction.
        """
        unit, length = self._direction(query)
        candidates = self._candidates(unit.astype(np.float32), limit, EMPTY if kept is None else kept, lengths)
        scores = self._exact(unit, candidates, lengths) * (length if lengths else 1)
        order = np.argsort(-scores, kind="stable")[:limit]
        return Found(candidates[order], scores[order])

    def cosines(self, query: Float[np.ndarray, " d"], rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The cosine with some rows, in double precision."""
        return self._exact(self._direction(query)[0], rows, False)

    def _direction(self, query: Float[np.ndarray, " d"]) -> tuple[Float[np.ndarray, " d"], float]:
        wide = np.asarray(query, np.float64)
        if wide.shape != (self.width,):
            raise MonoscopeError(
                f"a vector of shape {wide.shape} among directions of {self.width} numbers",
                fix=f"give one vector of {self.width} numbers, at the place that the dictionary writes to",
            )
        largest = np.abs(wide).max()  # whose square may be more than a number holds
        if not 0 < largest < np.inf:
            raise MonoscopeError("the vector is 0 or not finite, so it has no direction", fix="give another vector")
        length = np.sqrt(((wide / largest) ** 2).sum())
        return wide / largest / length, float(length * largest)

    def _candidates(
        self, unit: Float32[np.ndarray, " d"], limit: int, kept: Bool[np.ndarray, " n"], lengths: bool
    ) -> Int[np.ndarray, " m"]:
        """Every row that may be among the best."""
        made, n = self._made, len(self)
        high = np.empty(n, np.float32)
        blocks = -(-n // BLOCK)
        lowest, highest = np.empty(blocks, np.float32), np.empty(blocks, np.float32)
        error = np.float32(self.width * 2.0**-22)  # of a sum of so many float32 products, and of the query's rounding
        weights = made.length if lengths else np.ones(0, np.float32)

        def scan(part: tuple[int, int]) -> None:
            _scan(made.units, made.scale, made.slack, weights, unit, kept, error, *part, high, lowest, highest)

        workers = numba.get_num_threads()
        cuts = [blocks * i // workers for i in range(workers + 1)]
        parts = list(pairwise(cuts))
        if workers == 1:
            scan(parts[0])
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(scan, parts))
        least = _kth(lowest, limit)
        places = [np.arange(b * BLOCK, min(n, (b + 1) * BLOCK)) for b in np.flatnonzero(highest >= least).tolist()]
        rows = np.concatenate([*places, np.zeros(0, np.int64)])
        rows = rows[(high[rows] >= least) & (high[rows] > -np.inf)]
        spread = 2 * (made.slack[rows] + error) * (made.length[rows] if lengths else 1)
        low = high[rows] - spread * np.float32(1 + 1e-5) - np.float32(1e-6) * np.abs(high[rows])
        return rows[high[rows] >= _kth(low, limit)]

    def _exact(
        self, unit: Float[np.ndarray, " d"], rows: Int[np.ndarray, " m"], lengths: bool
    ) -> Float[np.ndarray, " m"]:
        """Cosines (or products with the unit vector) in double precision; 0 for a row of length 0."""
        out = np.empty(len(rows))
        for first in range(0, len(rows), COMPUTED):
            part = self.rows[rows[first : first + COMPUTED]].astype(np.float64)
            norms = np.sqrt((part**2).sum(1))
            products = (part * unit).sum(1)  # row by row, so that equal rows have equal scores
            out[first : first + COMPUTED] = products if lengths else products / np.where(norms > 0, norms, 1)
        return out


def _kth(values: Float[np.ndarray, " n"], k: int) -> float:
    """The k-th largest value; −∞ where there are fewer."""
    return float(np.partition(values, len(values) - k)[len(values) - k]) if len(values) >= k > 0 else -np.inf


def write(rows: Callable[[int, int], Float[np.ndarray, "m d"]], n: int, path: Path, facts: Mapping[str, Any]) -> None:
    """Write the folder of ``n`` rows; ``rows(first, last)`` gives some of them.

    Raises:
        MonoscopeError: the folder cannot be written.
    """
    width = 0
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / folder.MANIFEST).unlink(missing_ok=True)
        for name in FILES:  # removed, not overwritten: whoever has the old ones open keeps them whole
            (path / name).unlink(missing_ok=True)
        with (path / FILES[0]).open("wb") as units, (path / FILES[1]).open("wb") as exact:
            with (path / FILES[2]).open("wb") as numbers:
                for first in range(0, n, WRITTEN):
                    part = np.ascontiguousarray(rows(first, min(n, first + WRITTEN)), np.float32)
                    width, made = part.shape[1], rounded(part)
                    units.write(made.units.data)
                    exact.write(part.data)
                    numbers.write(np.stack(made[1:], 1).astype(np.float32).data)
        folder.seal(path, KIND, {**facts, "width": width}, FILES)
    except OSError as error:
        raise folder.unwritable(path / FILES[0], error) from error


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _scan(  # type: ignore[no-untyped-def]
    units, scale, slack, weights, query, kept, error, first, last, high, lowest, highest
):
    """For blocks ``first`` to ``last``: each row's upper bound, and the best lower and upper bound of each block."""
    n, d = units.shape
    for block in range(first, last):
        best_low, best_high = np.float32(-np.inf), np.float32(-np.inf)
        for row in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            if len(kept) > 0 and not kept[row]:
                high[row] = -np.inf
                continue
            total = np.float32(0)
            for j in range(d):
                total += np.float32(units[row, j]) * query[j]
            weight = weights[row] if len(weights) > 0 else np.float32(1)
            score, off = total * scale[row] * weight, (slack[row] + error) * weight
            high[row] = score + off
            best_high = max(best_high, high[row])
            best_low = max(best_low, score - off)
        lowest[block], highest[block] = best_low, best_high
