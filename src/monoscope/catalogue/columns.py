"""Columns of the table of features as whole arrays, kept in the database beside the rows they repeat.

A filter over a million features reads a few of them at once and visits no row. They change in the transaction that
changes the rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt16

from monoscope.catalogue import spelling
from monoscope.catalogue.index import FeatureIndex

LABEL_NUMBERS = ("threshold", "precision", "recall", "f1", "f1_low", "f1_high", "baseline_f1", "support", "documents")
COLUMNS: dict[str, tuple[str, Any]] = {  # name: (SQL, dtype)
    "id": ("features.id", np.int64),
    "n_active": ("n_active", np.int64),
    "density": ("density", np.float64),
    "max": ("max", np.float64),
    "mean": ("mean", np.float64),
    "loss_effect": ("loss_effect", np.float64),
    "label": ("ifnull(words, '')", np.str_),
    "label_kind": ("ifnull(kind, '')", np.str_),
    "label_concept": ("ifnull(concept, '')", np.str_),
    **{f"label_{name}": (name, np.float64) for name in LABEL_NUMBERS},
}
MEDIAN = "median"
OWN = ("n_active", "density", "max", "mean", "loss_effect")  # kept as arrays, with MEDIAN; the next with every label
OF_LABELS = ("label_kind", "label_f1", "label_f1_low", "label_f1_high")
FROM = "FROM features LEFT JOIN labels ON labels.feature = features.id ORDER BY features.id"


def read(connection: sqlite3.Connection, name: str) -> Shaped[np.ndarray, " n_features"]:
    """A column from the rows themselves."""
    sql, dtype = COLUMNS[name]
    return np.array([value for (value,) in connection.execute(f"SELECT {sql} {FROM}")], dtype)


def medians(index: FeatureIndex) -> Float[np.ndarray, " n_features"]:
    """The median (the lower of two middle ones) of each feature's values where it fires; 0 for a dead feature."""
    out = np.zeros(len(index))
    for feature in range(len(index)):
        values = index.values[index.offsets[feature] : index.offsets[feature + 1]]
        if len(values):
            middle = (len(values) - 1) // 2
            if values.dtype == np.float16 and not np.signbit(values).any():  # positive halves order as their bits do
                out[feature] = np.partition(values.view(np.uint16), middle)[middle : middle + 1].view(np.float16)[0]
            else:
                out[feature] = np.partition(values, middle)[middle]
    return out


def write_own(source: sqlite3.Connection, target: sqlite3.Connection, index: FeatureIndex) -> None:
    """Keep the columns that building fixes."""
    for name in OWN:
        _put(target, name, read(source, name))
    _put(target, MEDIAN, medians(index))


def write_labels(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Keep the columns of the labels."""
    for name in OF_LABELS:
        _put(target, name, read(source, name))


def _put(connection: sqlite3.Connection, name: str, column: Shaped[np.ndarray, " n_features"]) -> None:
    dtype = column.dtype.str
    if column.dtype.kind == "U":  # few different words: numbers, and what they stand for
        words, codes = np.unique(column, return_inverse=True)
        dtype, column = json.dumps(words.tolist()), codes.astype(np.uint8 if len(words) <= 256 else np.uint32)
    connection.execute("REPLACE INTO columns VALUES (?, ?, ?)", (name, dtype, column.tobytes()))


def _get(connection: sqlite3.Connection, name: str) -> Shaped[np.ndarray, " n_features"] | None:
    found = connection.execute("SELECT dtype, data FROM columns WHERE name = ?", (name,)).fetchone()
    if found is None:
        return None
    dtype, data = found
    if not dtype.startswith("["):
        return np.frombuffer(data, dtype)
    words = json.loads(dtype)
    return np.array(words or [""])[np.frombuffer(data, np.uint8 if len(words) <= 256 else np.uint32)]


class Columns(Mapping[str, Shaped[np.ndarray, " n_features"]]):
    """The table of features, a read-only array per column, each read when it is first asked for.

    Row ``i`` is feature ``i``. Columns of labels hold "" or NaN where a feature has none, ``loss_effect`` NaN where it
    was not measured. ``median`` is of a feature's values where it fires.
    """

    def __init__(self, rows: Callable[[], sqlite3.Connection], arrays: Callable[[], sqlite3.Connection]) -> None:
        """``rows`` and ``arrays`` give the calling thread's connections to the rows and to the kept columns."""
        self._rows, self._arrays = rows, arrays
        self._held: dict[str, np.ndarray] = {}
        self._kinds: dict[str, Bool[np.ndarray, " n_features"]] = {}  # comparing a million words takes its time

    def of_kind(self, kind: str) -> Bool[np.ndarray, " n_features"]:
        """True on the features whose label is of this kind; "" for those without one."""
        if kind not in self._kinds:
            self._kinds[kind] = self["label_kind"] == kind
        return self._kinds[kind]

    @cached_property
    def levels(self) -> UInt16[np.ndarray, " n_features"]:
        """Each feature's level of quality, the lower the better; see ``spelling``."""
        low = self["label_f1_low"]
        unlabelled = np.where(self["n_active"] > 0, spelling.LIVING, spelling.DEAD)
        tested = spelling.LABELLED - (spelling.LABELLED * np.nan_to_num(low).clip(0, 1)).astype(np.int64)
        return np.where(np.isnan(low), unlabelled, tested).astype(np.uint16)

    @cached_property
    def order(self) -> Int[np.ndarray, " n_features"]:
        """All features, best-tested first, ties by number."""
        return np.argsort(self.levels, kind="stable")  # 16-bit numbers are sorted by radix, in linear time

    def __getitem__(self, name: str) -> Shaped[np.ndarray, " n_features"]:
        if name not in self._held:
            if name not in COLUMNS and name != MEDIAN:
                raise KeyError(name)
            if name == "id":
                return np.arange(len(self["n_active"]))
            column = _get(self._arrays(), name) if name in (*OWN, *OF_LABELS, MEDIAN) else read(self._rows(), name)
            assert column is not None, name
            column.flags.writeable = False
            self._held[name] = column
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*COLUMNS, MEDIAN))

    def __len__(self) -> int:
        return len(COLUMNS) + 1
