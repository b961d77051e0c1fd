"""An open catalogue: its table of features, their records, search, excerpts and labels."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope import folder
from monoscope.catalogue import columns, notebook, schema, spelling, upgrade
from monoscope.catalogue import explanations as findings
from monoscope.catalogue.columns import Columns
from monoscope.catalogue.explanations import Explanation, Score
from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.nearest import Nearest
from monoscope.catalogue.records import ExcerptToken, FeatureRecord, Hit, Hits, Label, record_of
from monoscope.catalogue.rendering import shown
from monoscope.catalogue.searching import AtHand, Filters, Query, find, texts
from monoscope.catalogue.upgrade import Beside
from monoscope.dictionary import io
from monoscope.errors import MonoscopeError
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore

INDEX = "catalogue"
DIRECTIONS = "directions"
DICTIONARY = "dictionary"
TEXT = "text"
LABEL_FIELDS = tuple(Label.__dataclass_fields__)


class _Own:
    """A thread's connection, which closes with its owner."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()


class Catalogue:
    """A finished catalogue. Reads only, except where a method says ``write``; safe to use from several threads.

    >>> cat = Catalogue("run")  # doctest: +SKIP
    >>> cat.features["density"]; cat[1234].examples["top"]; cat.search("inside a docstring")  # doctest: +SKIP
    """

    def __init__(self, run: str | Path, *, store: TokenStore | None = None) -> None:
        """Open the catalogue of a run's folder.

        Args:
            run: the folder that holds ``catalogue.sqlite`` and ``catalogue/``.
            store: the text, where it is neither in the folder nor where it was when the catalogue was built.

        Raises:
            MonoscopeError: the catalogue is missing, unfinished, damaged, made by a newer version, or of another text.
        """
        self.run = Path(run)
        self.path = self.run / schema.NAME
        self._given = store
        self._local = threading.local()
        self._columns: tuple[tuple[int, int], Columns] | None = None
        self._lock = threading.Lock()
        self._beside: Beside | None = None
        self.at_hand = AtHand()
        self.masks: dict[str, Bool[np.ndarray, " n_rows"]] = {}  # of concepts that were searched for
        self.said: Any = None  # what ``searches.meaning`` keeps
        self.facts: dict[str, Any] = {
            name: json.loads(value) for name, value in self._connection.execute("SELECT name, value FROM facts")
        }
        if self.index.manifest["key"] != self.facts["key"]:
            raise MonoscopeError(
                "the index is of another build than catalogue.sqlite",
                where=str(self.run),
                fix="build the catalogue again",
            )

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        if not hasattr(self._local, "own"):
            self._local.own = _Own(schema.connect(self.path))
        own: _Own = self._local.own
        return own.connection

    @property
    def searched(self) -> sqlite3.Connection:
        """This thread's connection to the tables ``words`` and ``columns``; for a catalogue of version 1, made once."""
        if schema.version(self._connection) > 1:
            return self._connection
        with self._lock:
            self._beside = self._beside or Beside(self._connection, self.index)
        if not hasattr(self._local, "beside"):
            self._local.beside = _Own(schema.open_file(self._beside.path))
        own: _Own = self._local.beside
        return own.connection

    def _repr_html_(self) -> str:
        return notebook.catalogue(self)

    def close(self) -> None:
        """Close this thread's connections; those of other threads close when their threads end."""
        for name in ("own", "beside"):
            if hasattr(self._local, name):
                delattr(self._local, name)

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @cached_property
    def index(self) -> FeatureIndex:
        """The inverted index: rows and values of every feature."""
        return FeatureIndex(self.run / INDEX)

    @cached_property
    def directions(self) -> Nearest:
        """What every feature writes, ``(n_features, d_out)``, to be searched; the rows of ``ms.load(run).directions``.

        Raises:
            MonoscopeError: an old catalogue does not keep them, and the run's dictionary is not there or is another.
        """
        kept = self.run / INDEX / DIRECTIONS
        if folder.is_sealed(kept) and folder.read_json(kept / folder.MANIFEST).get("key") == self.facts["key"]:
            return Nearest.open(kept)
        dictionary = io.load(self.run / DICTIONARY)
        if dictionary.n_features != len(self):
            raise MonoscopeError(
                f"the dictionary has {dictionary.n_features} features, the catalogue {len(self)}", where=str(self.run)
            )
        return Nearest.of(dictionary.directions.float().cpu().numpy())

    @cached_property
    def store(self) -> TokenStore:
        """The text."""
        store = self._given or TokenStore(self.run / TEXT if self.facts["text"] is None else self.facts["text"])
        if store.manifest["files"]["tokens.u32"]["sha256"] != self.facts["tokens"]:
            raise MonoscopeError(
                "the text is not the one that was catalogued", where=str(store.path), fix="build the catalogue again"
            )
        return store

    @cached_property
    def rows(self) -> Rows:
        """The numbering of the catalogued tokens, split after split in the order of building."""
        return Rows(self.store, np.concatenate([self.store.documents(split) for split in self.facts["splits"]]))

    @property
    def features(self) -> Columns:
        """The table of features, a NumPy array per column; row ``i`` is feature ``i``; see ``columns.Columns``."""
        stat = self.path.stat()
        version = (stat.st_mtime_ns, stat.st_size)
        if self._columns is None or self._columns[0] != version:
            self._columns = version, Columns(lambda: self._connection, lambda: self.searched)
        return self._columns[1]

    def __len__(self) -> int:
        """The number of features, dead ones included."""
        return int(self.facts["n_features"])

    def __iter__(self) -> Iterator[FeatureRecord]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, feature: int) -> FeatureRecord:
        """The record of a feature.

        Raises:
            MonoscopeError: there is no such feature.
        """
        whole = isinstance(feature, Integral)
        cursor = self._connection.execute("SELECT * FROM features WHERE id = ?", (int(feature) if whole else -1,))
        row = cursor.fetchone()
        if row is None:
            raise MonoscopeError(
                f"there is no feature {feature!r}", where=str(self.run), fix=f"choose one from 0 to {len(self) - 1}"
            )
        found = record_of(dict(zip((d[0] for d in cursor.description), row, strict=True)), self._label(int(feature)))
        object.__setattr__(found, "_catalogue", self)
        return found

    def _label(self, feature: int) -> Label | None:
        row = self._connection.execute(
            f"SELECT {', '.join(LABEL_FIELDS)} FROM labels WHERE feature = ?", (feature,)
        ).fetchone()
        return Label(*row) if row else None

    def search(self, query: str, *, limit: int = 20) -> Hits:
        """Features whose label, tokens or example text match some words, best-tested first; see ``searches.words``."""
        return self.find(query, limit=limit)

    def find(
        self,
        what: Any,
        by: str = "words",
        *,
        unlike: str | Sequence[str] = (),
        limit: int = 20,
        filters: Filters | None = None,
        **ranges: Any,
    ) -> Hits:
        """Features found in one of several ways, best first.

        >>> cat.find("def f(x):", by="text", unlike="f(x)", density=(0, 0.01), f1_low=(0.5, 1))  # doctest: +SKIP

        Args:
            what: words, texts, a token, a concept's expression, a feature's number or a vector, as the way takes it.
            by: the way, a file of ``catalogue/searches``.
            unlike: texts that the features sought do not fire on (``by="text"``).
            limit: how many features at most.
            filters: which features are asked for.
            ranges: the same by name, one by one; see ``searching.Filters``.

        Raises:
            MonoscopeError: there is no such way or filter, or the way cannot take ``what``.
        """
        return Hits(find(self, Query(what, by, tuple(texts(unlike)), filters or Filters.of(ranges), limit)))

    def select(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of the database, read with this thread's connection."""
        yield from self._connection.execute(sql, values)

    def hits(self, ids: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> list[Hit]:
        """Some features with what is said of them in a list, in the order given."""
        sql = """SELECT features.id, ifnull(labels.words, ''), labels.f1, features.density
            FROM features LEFT JOIN labels ON labels.feature = features.id
            WHERE features.id IN (SELECT value FROM json_each(?))"""
        rows = {row[0]: row[1:] for row in self._connection.execute(sql, (json.dumps(ids.tolist()),))}
        named = ((i, score, *rows[i]) for i, score in zip(ids.tolist(), scores.tolist(), strict=True))
        return [Hit(i, label, float("nan") if f1 is None else f1, density, s) for i, s, label, f1, density in named]

    def excerpt(
        self, document: int, position: int, before: int = 20, after: int = 10, feature: int | None = None
    ) -> list[ExcerptToken]:
        """The tokens around a position, clipped to the document, with a feature's values on them.

        Args:
            document: index of a document in the store.
            position: the token in the middle.
            before: tokens before it.
            after: tokens after it.
            feature: whose values; 0 everywhere without one, and in documents that were not catalogued.

        Raises:
            MonoscopeError: the document, the position or the feature does not exist.
        """
        self._check_place(document, position)
        base = int(self.store.token_offsets[document])
        n = self.store.length(document)
        first, last = max(0, position - before), min(n, position + after + 1)
        values = (
            np.zeros(last - first, np.float32) if feature is None else self.activations(feature, document, first, last)
        )
        starts, ends = self.store.starts[base : base + n], self.store.ends[base : base + n]
        texts = shown(self.store.text(document), starts, ends, first, last)
        return [
            ExcerptToken(text, value, first + i)
            for i, (text, value) in enumerate(zip(texts, values.tolist(), strict=True))
        ]

    def activations(self, feature: int, document: int, first: int, last: int) -> Float[np.ndarray, " n"]:
        """A feature's values on positions ``first`` to ``last`` (exclusive) of a document; 0 where it is off.

        Documents that were not catalogued are 0 everywhere.

        Raises:
            MonoscopeError: there is no such feature.
        """
        slot = np.flatnonzero(self.rows.documents == document)
        if not len(slot):
            return np.zeros(last - first, np.float32)
        row = int(self.rows.offsets[slot[0]])
        return self.index.dense(feature, row + first, row + last)

    def _check_place(self, document: int, position: int) -> None:
        if not 0 <= document < len(self.store):
            raise MonoscopeError(f"there is no document {document}", fix=f"choose one from 0 to {len(self.store) - 1}")
        if not 0 <= position < self.store.length(document):
            raise MonoscopeError(
                f"document {document} has no position {position}",
                fix=f"choose one from 0 to {self.store.length(document) - 1}",
            )

    def write_labels(self, labels: Iterable[Label]) -> None:
        """Replace the labels of the features named, all or none; each becomes searchable at once.

        Raises:
            MonoscopeError: a label names a feature that does not exist, or the file cannot be written.
        """
        given = list(labels)
        self._check_named("a label", (label.feature for label in given))
        rows = [tuple(_plain(getattr(label, name)) for name in LABEL_FIELDS) for label in given]
        with self._writing("labels", (label.feature for label in given)) as connection:
            marks = ", ".join("?" * len(LABEL_FIELDS))
            connection.executemany(f"REPLACE INTO labels ({', '.join(LABEL_FIELDS)}) VALUES ({marks})", rows)
            columns.write_labels(connection, connection)

    def explanations(self, feature: int | None = None) -> list[Explanation]:
        """What explainers said of a feature, or of all features."""
        return findings.read_explanations(self._connection, feature)

    def scores(self, feature: int | None = None) -> list[Score]:
        """What tests said of the explanations of a feature, or of all features."""
        return findings.read_scores(self._connection, feature)

    def write_explanations(self, explanations: Iterable[Explanation], scores: Iterable[Score] = ()) -> None:
        """Add explanations, all or none; one of the same feature and explainer is replaced, and its scores are dropped.

        ``scores`` are written with them, where whoever explained also tested.

        Raises:
            MonoscopeError: one names a feature that does not exist, or the file cannot be written.
        """
        given, tested = list(explanations), list(scores)
        self._check_named("a score", (s.feature for s in tested))
        self._check_named("an explanation", (e.feature for e in given))
        with self._writing("explanations", (e.feature for e in given)) as connection:
            findings.write_explanations(connection, given)
            findings.write_scores(connection, tested)

    def write_scores(self, scores: Iterable[Score]) -> None:
        """Add scores, all or none; one of the same feature, explainer and scorer is replaced.

        Raises:
            MonoscopeError: one names a feature that does not exist, or the file cannot be written.
        """
        given = list(scores)
        self._check_named("a score", (s.feature for s in given))
        with self._writing("scores") as connection:
            findings.write_scores(connection, given)

    def _check_named(self, what: str, features: Iterable[int]) -> None:
        wrong = next((feature for feature in features if not 0 <= feature < len(self)), None)
        if wrong is not None:
            raise MonoscopeError(f"{what} names feature {wrong}", fix=f"name features from 0 to {len(self) - 1}")

    @contextmanager
    def _writing(self, what: str, spelled: Iterable[int] = ()) -> Iterator[sqlite3.Connection]:
        """A connection of its own in one transaction; what SQLite refuses becomes the user's error.

        ``spelled`` are the features that are found by other words, or stand in another place, afterwards.
        """
        index = self.index
        connection = schema.connect(self.path, write=True)
        try:
            connection.execute("BEGIN IMMEDIATE")
            if schema.version(connection) == 1:
                upgrade.in_place(connection, index)
            before = spelling.keys(connection, len(index), dict.fromkeys(spelled))
            yield connection
            spelling.rewrite(connection, len(index), before)
            connection.commit()
        except sqlite3.Error as error:
            raise MonoscopeError(
                f"cannot write {what}: {error}",
                where=str(self.path),
                fix="free some space, or close what locks the file",
            ) from error
        finally:
            connection.close()  # what was not committed is undone

    @property
    def overview(self) -> dict[str, Any]:
        """The catalogue at a glance, ready for JSON.

        ``density_histogram`` counts living features over log-spaced bins of density, five a decade; ``evaluation`` is
        what ``evaluation.json`` holds, {} where there is none; ``labels`` counts features by kind of label.
        """
        density = self.features["density"]
        alive = density > 0
        low = min(-1.0, np.floor(np.log10(density[alive].min()))) if alive.any() else -1.0
        edges = np.logspace(low, 0, int(-low) * 5 + 1)
        counts, _ = np.histogram(density[alive].clip(edges[0], edges[-1]), bins=edges)
        evaluation = self.run / "evaluation.json"
        kinds = self.features["label_kind"]
        return {
            "name": self.run.resolve().name,
            **{
                name: self.facts[name]
                for name in ("model", "site", "target", "architecture", "n_features", "n_tokens", "n_documents")
            },
            "alive": int(alive.sum()),
            "dead": int((~alive).sum()),
            "density_histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
            "labels": {kind: int((kinds == kind).sum()) for kind in ("token", "context")},
            "evaluation": folder.read_json(evaluation) if evaluation.is_file() else {},
        }


def open_catalogue(run: str | Path) -> Catalogue:
    """Open the catalogue of a run's folder; see ``Catalogue``."""
    return Catalogue(run)


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own, which SQLite stores as a number."""
    return value.item() if isinstance(value, np.generic) else value
