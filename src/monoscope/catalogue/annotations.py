"""What people say of features: labels of their own, votes, notes and bookmarks, kept beside the catalogue.

The catalogue stays as it was built. Annotations have a small SQLite file of their own in the run's folder, made when
the first one is written, and travel as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monoscope.catalogue import sidecar
from monoscope.errors import MonoscopeError

NAME = "annotations.sqlite"
FORMAT = "monoscope annotations 1"
LONGEST_LABEL, LONGEST_NOTE = 300, 4_000
TABLES = """
CREATE TABLE IF NOT EXISTS facts (catalogue TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS annotations (
    feature INTEGER PRIMARY KEY, label TEXT NOT NULL, vote INTEGER NOT NULL, note TEXT NOT NULL,
    bookmarked INTEGER NOT NULL, changed TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class Annotation:
    """What people say of one feature.

    ``label`` stands in for the catalogue's where it is not ""; ``vote`` is 1 where the label is found good, −1 where
    bad, 0 for neither; ``changed`` is when, in ISO 8601, and is set by ``Annotations.put``.
    """

    feature: int
    label: str = ""
    vote: int = 0
    note: str = ""
    bookmarked: bool = False
    changed: str = ""

    def check(self, n_features: int) -> None:
        """Raises: MonoscopeError: the feature does not exist, or an entry is of the wrong kind or too long."""
        kinds = {"feature": int, "label": str, "vote": int, "note": str, "bookmarked": bool, "changed": str}
        wrong = next((name for name, kind in kinds.items() if type(getattr(self, name)) is not kind), None)
        if wrong is not None:
            raise MonoscopeError(f"an annotation's {wrong} is no {kinds[wrong].__name__}", fix="see the documentation")
        if not 0 <= self.feature < n_features:
            raise MonoscopeError(
                f"an annotation names feature {self.feature}", fix=f"name features from 0 to {n_features - 1}"
            )
        if self.vote not in (-1, 0, 1):
            raise MonoscopeError(f"a vote of {self.vote}", fix="vote -1, 0 or 1")
        if len(self.label) > LONGEST_LABEL or len(self.note) > LONGEST_NOTE:
            raise MonoscopeError(
                f"the annotation of feature {self.feature} is too long",
                fix=f"labels have at most {LONGEST_LABEL} characters, notes {LONGEST_NOTE}",
            )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return not (self.label or self.vote or self.note or self.bookmarked)


class Annotations:
    """The annotations of one catalogue; safe to use from several threads and programs at once."""

    def __init__(self, run: str | Path, key: str, n_features: int) -> None:
        """Name the run's folder, the catalogue's key (``Catalogue.facts["key"]``) and how many features it has.

        Raises:
            MonoscopeError: the file there is damaged, or holds annotations of another catalogue.
        """
        self.path, self.key, self.n_features = Path(run) / NAME, key, n_features
        if self.path.is_file():
            with sidecar.connection(self.path) as connection:
                row = connection.execute("SELECT catalogue FROM facts").fetchone()
            if row is None or row[0] != key:
                raise MonoscopeError(
                    f"{NAME} holds annotations of another catalogue",
                    where=str(self.path.parent),
                    fix="move the file elsewhere; annotations are of the features they were made for",
                )

    def all(self) -> list[Annotation]:
        """Every annotation, by feature."""
        return self._read("")

    def get(self, feature: int) -> Annotation:
        """The annotation of a feature; an empty one where nothing was said."""
        return next(iter(self._read("WHERE feature = ?", feature)), Annotation(feature))

    def bookmarked(self) -> list[int]:
        """The features that are bookmarked."""
        return [found.feature for found in self._read("WHERE bookmarked")]

    def _read(self, where: str, *values: int) -> list[Annotation]:
        if not self.path.is_file():
            return []
        with sidecar.connection(self.path) as connection:
            rows = connection.execute(
                "SELECT feature, label, vote, note, bookmarked, changed FROM annotations "
                + where
                + " ORDER BY feature",
                values,
            ).fetchall()
        return [Annotation(f, label, vote, note, bool(b), changed) for f, label, vote, note, b, changed in rows]

    def put(self, annotation: Annotation) -> Annotation:
        """Keep an annotation in place of what was said of its feature before; an empty one removes it.

        Returns:
            The annotation with the time of the change.

        Raises:
            MonoscopeError: it is not valid, or the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        held = Annotation(**{**asdict(annotation), "changed": now})
        self.take([held])
        return held

    def take(self, annotations: Iterable[Annotation]) -> int:
        """Keep annotations as they are, all or none, each in place of what was said of its feature; how many.

        Raises:
            MonoscopeError: one is not valid, or the file cannot be written.
        """
        given = list(annotations)
        for annotation in given:
            annotation.check(self.n_features)
        last = {annotation.feature: annotation for annotation in given}.values()
        with sidecar.connection(self.path) as connection:
            for statement in TABLES.split(";\n"):
                connection.execute(statement)
            if connection.execute("SELECT 1 FROM facts").fetchone() is None:
                connection.execute("INSERT INTO facts VALUES (?)", (self.key,))
            connection.executemany("DELETE FROM annotations WHERE feature = ?", [(a.feature,) for a in last])
            connection.executemany(
                "INSERT OR REPLACE INTO annotations VALUES (:feature, :label, :vote, :note, :bookmarked, :changed)",
                [asdict(a) for a in last if not a.is_empty],
            )
        return len(given)

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"format": FORMAT, "catalogue": self.key, "annotations": [asdict(a) for a in self.all()]}

    def from_json(self, text: str, where: str) -> int:
        """Keep what ``to_json`` gave, all or none, in place of what was said of the same features; how many.

        Raises:
            MonoscopeError: it is something else, of another catalogue, or not valid.
        """
        try:
            given = json.loads(text)
            if given["format"] != FORMAT:
                raise ValueError(f"its format is {given['format']!r}")
            found = [Annotation(**entry) for entry in given["annotations"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise MonoscopeError(
                f"this is no file of annotations: {error}",
                where=where,
                fix="name one that `monoscope annotate` wrote",
            ) from error
        if given.get("catalogue") != self.key:
            raise MonoscopeError(
                "these annotations are of another catalogue", where=where, fix="name the run that they were made with"
            )
        return self.take(found)
