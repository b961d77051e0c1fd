"""The inverted index: for every feature, the rows on which it fires and its values there.

A folder of flat arrays, memory-mapped when read:

=====================  ==================  =========================================================
file                   type                what
=====================  ==================  =========================================================
``offsets.i64``        int64               feature ``f`` owns entries ``offsets[f]:offsets[f + 1]``
``rows.u32``           uint32              each entry's row, ascending within a feature
``values.f16``         float16 or float32  each entry's value; ``values.f32`` where half precision
                                           would overflow or lose a feature's largest value
=====================  ==================  =========================================================

It is sorted from a spool in bounded memory: entries are read in blocks and scattered into the mapped files, which the
operating system writes back as it sees fit. Nothing dense is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from numba import njit

from monoscope import folder
from monoscope.catalogue.spool import Spool, flat
from monoscope.errors import MonoscopeError

KIND = "feature index"
BLOCK = 1 << 22  # entries read at once: 32 MB
TINIEST = float(np.finfo(np.float16).smallest_subnormal)
HALF_LOW, HALF_HIGH = 1e-3, float(np.finfo(np.float16).max)


class FeatureIndex:
    """A complete index. ``of`` gives a feature's postings; nothing is read before it is asked for.

    ``offsets`` is ``(n_features + 1,)``, ``rows`` and ``values`` are ``(n_entries,)``; all are read-only maps.
    """

    def __init__(self, path: Path) -> None:
        """Open a complete index.

        Raises:
            MonoscopeError: it is missing, incomplete or damaged.
        """
        self.path = path
        self.manifest = folder.unseal(path, KIND)
        self.n_features: int = self.manifest["n_features"]
        self.n_rows: int = self.manifest["n_rows"]
        self.offsets: Integer[np.ndarray, " n_features_plus_1"] = flat(path / "offsets.i64", np.int64)
        self.rows: Integer[np.ndarray, " n_entries"] = flat(path / "rows.u32", np.uint32)
        half = self.manifest["values"] == "values.f16"
        self.values: Float[np.ndarray, " n_entries"] = flat(
            path / self.manifest["values"], np.float16 if half else np.float32
        )

    def __len__(self) -> int:
        """The number of features."""
        return self.n_features

    def counts(self) -> Integer[np.ndarray, " n_features"]:
        """On how many rows each feature fires."""
        return np.diff(self.offsets)

    def of(self, feature: int) -> tuple[Integer[np.ndarray, " n_active"], Float[np.ndarray, " n_active"]]:
        """The rows on which a feature fires, ascending, and its float32 values there.

        Raises:
            MonoscopeError: there is no such feature.
        """
        span = self._span(feature)
        return self.rows[span], self.values[span].astype(np.float32)

    def between(self, feature: int, first: int, last: int) -> tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """A feature's rows and values among rows ``first`` to ``last`` (exclusive), by binary search."""
        span = self._span(feature)
        # of the rows' own type: NumPy would convert all rows to another
        wanted = np.clip([first, last], 0, self.n_rows).astype(np.uint32)
        a, b = span.start + np.searchsorted(self.rows[span], wanted)
        return self.rows[a:b], self.values[a:b].astype(np.float32)

    def dense(self, feature: int, first: int, last: int) -> Float[np.ndarray, " n"]:
        """A feature's value on every row from ``first`` to ``last`` (exclusive); 0 where it is off."""
        out = np.zeros(max(0, last - first), np.float32)
        rows, values = self.between(feature, first, last)
        out[rows.astype(np.int64) - first] = values
        return out

    def _span(self, feature: int) -> slice:
        if not 0 <= feature < self.n_features:
            raise MonoscopeError(
                f"there is no feature {feature}",
                where=str(self.path),
                fix=f"choose one from 0 to {self.n_features - 1}",
            )
        return slice(int(self.offsets[feature]), int(self.offsets[feature + 1]))


def build(spool: Spool, out: Path, facts: dict[str, Any]) -> FeatureIndex:
    """Sort a spool into an index; ``facts`` go into its manifest.

    Raises:
        MonoscopeError: there are more rows than 32 bits can number, or the folder cannot be written.
    """
    if spool.n_rows >= 1 << 32:
        raise MonoscopeError(f"{spool.n_rows} rows are too many for one catalogue", fix="catalogue fewer documents")
    counts, largest = np.zeros(spool.n_features, np.int64), np.zeros(spool.n_features, np.float32)
    for first in range(0, len(spool.features), BLOCK):
        _survey(spool.features[first : first + BLOCK], spool.values[first : first + BLOCK], counts, largest)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    fits = bool(largest.max(initial=0) <= HALF_HIGH and largest[largest > 0].min(initial=1) >= HALF_LOW)
    name, dtype = ("values.f16", np.float16) if fits else ("values.f32", np.float32)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / folder.MANIFEST).unlink(missing_ok=True)
        for old in out.glob("*.[iuf]*"):  # removed, not overwritten: whoever has the old index open keeps it whole
            old.unlink()
        (out / "offsets.i64").write_bytes(offsets.tobytes())
        rows, values = _create(out / "rows.u32", np.uint32, offsets[-1]), _create(out / name, dtype, offsets[-1])
    except OSError as error:
        raise folder.unwritable(out / "rows.u32", error) from error
    _scatter_blocks(spool, offsets[:-1].copy(), rows, values)
    for array in (rows, values):
        if isinstance(array, np.memmap):
            array.flush()
    facts = {**facts, "n_features": spool.n_features, "n_rows": spool.n_rows, "values": name}
    folder.seal(out, KIND, facts, ["offsets.i64", "rows.u32", name])
    return FeatureIndex(out)


def _create(path: Path, dtype: type, length: int) -> np.ndarray:
    """A writable map of ``length`` numbers whose space is taken now, so that a full disk is an error and no crash."""
    itemsize = np.dtype(dtype).itemsize
    with path.open("wb") as file:
        zeros = bytes(1 << 20)
        left = int(length) * itemsize
        while left > 0:
            left -= file.write(zeros[: min(left, len(zeros))])
    return np.memmap(path, dtype=dtype, mode="r+") if length else np.zeros(0, dtype)


def _scatter_blocks(spool: Spool, at: Integer[np.ndarray, " n_features"], rows: np.ndarray, values: np.ndarray) -> None:
    bits = np.uint16 if values.dtype == np.float16 else np.uint32
    target = np.asarray(values).view(bits)  # Numba has no half floats; moving bits is all that is needed
    row = 0
    for first in range(0, len(spool.features), BLOCK):
        block = spool.values[first : first + BLOCK].astype(values.dtype)
        if bits == np.uint16:
            vanished = block == 0  # a value that fired stays above 0
            block[vanished] = np.copysign(np.float16(TINIEST), spool.values[first : first + BLOCK][vanished])
        row = _scatter(
            spool.features[first : first + BLOCK],
            block.view(bits),
            spool.ends,
            first,
            row,
            at,
            np.asarray(rows),
            target,
        )


@njit(cache=True, nogil=True)
def _survey(features, values, counts, largest):  # type: ignore[no-untyped-def]
    """Add a block's entries per feature to ``counts``; keep the largest magnitude per feature in ``largest``."""
    for i in range(len(features)):
        f = features[i]
        counts[f] += 1
        largest[f] = max(largest[f], abs(values[i]))


@njit(cache=True, nogil=True)
def _scatter(features, bits, ends, first, row, at, rows, target):  # type: ignore[no-untyped-def]
    """Put a block's entries (numbered from ``first``) in their places; returns the row of the last one."""
    for i in range(len(features)):
        while ends[row] <= first + i:
            row += 1
        f = features[i]
        p = at[f]
        rows[p] = row
        target[p] = bits[i]
        at[f] = p + 1
    return row
