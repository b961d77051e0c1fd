"""Building a catalogue: one streaming pass, a sort, a fold over features, patched passes, a database.

Each step leaves a sealed folder or nothing: ``catalogue/spool`` after the pass, ``catalogue`` and
``catalogue/directions`` after the sort, and ``catalogue.sqlite`` at the end. A build that was interrupted goes on after
its last finished step, provided that model, site, dictionary and text are the same; a finished one is left as it is. A
database under construction is ``catalogue.sqlite.partial`` and is never taken for a whole one.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from monoscope import folder
from monoscope.catalogue import columns, nearest, schema
from monoscope.catalogue import index as indices
from monoscope.catalogue.fold import Folder
from monoscope.catalogue.gather import NEURONS, gather
from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.loss_effect import loss_effects
from monoscope.catalogue.spool import Spool
from monoscope.catalogue.store import DIRECTIONS, INDEX, TEXT, Catalogue
from monoscope.catalogue.subject import Subject, documents
from monoscope.catalogue.writing import Writer, top_places
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.harvest.stream import stream
from monoscope.models import LanguageModel
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore
from monoscope.types import Site

Progress = Callable[[str, int, int], None]
SPOOL = "spool"
EFFECTS = 8  # top examples at which a feature is removed
BUDGET = 2  # patched passes may run over so many times the catalogued tokens


def build(
    run: str | Path,
    lm: LanguageModel,
    site: Site | str,
    dictionary: Dictionary,
    store: TokenStore,
    *,
    splits: Sequence[str] = ("fit", "test"),
    target: Site | str | None = None,
    effects: int = EFFECTS,
    seed: int = 0,
    progress: Progress = lambda step, done, total: None,
) -> Catalogue:
    """Build the catalogue of a dictionary over some text, or go on with a build that was interrupted.

    Args:
        run: the folder that gets ``catalogue.sqlite`` and ``catalogue/``. A catalogue of the same things that it holds
            is left as it is, with its labels; any other is replaced.
        lm: the model.
        site: where the dictionary reads.
        dictionary: its features.
        store: the text.
        splits: which of its splits are catalogued, in this order.
        target: where the dictionary writes, if that is another site (a transcoder).
        effects: top examples per feature at which its effect on the loss is measured, 0 for none. Where patched
            passes are needed (see ``loss_effect``), as many of them as run in twice the time of the pass itself.
        seed: of the choice of examples.
        progress: told (step, done, total); steps are "read", "sort", "fold", "effects".

    Raises:
        MonoscopeError: model, site, dictionary and text do not belong together, a split is empty, an activation is
            NaN, or the folder cannot be written. What is finished stays.
    """
    run, site = Path(run), Site.parse(site)
    rows = Rows(store, documents(store, list(splits)))
    subject = Subject(lm, site, Site.parse(target or site), dictionary, rows, tuple(splits))
    subject.check()
    key = subject.key()
    facts = {**_facts(subject, run), "key": key, "seed": seed, "effects": effects}
    if (run / schema.NAME).is_file():
        finished = Catalogue(run, store=store)
        if finished.facts == facts:
            return finished
        finished.close()
        (run / schema.NAME).unlink()
    spool = _spool(run / INDEX / SPOOL, key, subject, progress)
    index = _index(run / INDEX, key, spool, progress)
    _directions(run / INDEX / DIRECTIONS, key, dictionary)
    partial = run / (schema.NAME + ".partial")
    connection = schema.create(partial)
    try:
        with connection, np.load(spool.path / NEURONS) as neurons:
            writer = Writer(connection, subject, (neurons["ids"], neurons["r"]))
            _fold(writer, subject, index, spool, seed, effects, progress)
            writer.finish(facts)
            columns.write_own(connection, connection, index)
            columns.write_labels(connection, connection)
        connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        connection.commit()
    except sqlite3.Error as error:
        raise MonoscopeError(
            f"cannot write {schema.NAME}: {error}", where=str(run), fix="free some space; the same command goes on"
        ) from error
    finally:
        connection.close()
    partial.replace(run / schema.NAME)
    shutil.rmtree(run / INDEX / SPOOL)
    return Catalogue(run, store=store)


def _finished(path: Path, key: str) -> bool:
    """Whether ``path`` was sealed by a build of the same things."""
    return folder.is_sealed(path) and folder.read_json(path / folder.MANIFEST).get("key") == key


def _spool(path: Path, key: str, subject: Subject, progress: Progress) -> Spool:
    if _finished(path, key):
        return Spool(path)
    rows = subject.rows
    blocks = stream(subject.lm, rows.store, rows.documents, [subject.site])
    site = str(subject.site)
    return gather(
        blocks, rows, site, subject.dictionary, path, {"key": key}, lambda done: progress("read", done, len(rows))
    )


def _index(path: Path, key: str, spool: Spool, progress: Progress) -> FeatureIndex:
    progress("sort", 0, 1)
    index = FeatureIndex(path) if _finished(path, key) else indices.build(spool, path, {"key": key})
    progress("sort", 1, 1)
    return index


def _directions(path: Path, key: str, dictionary: Dictionary) -> None:
    """What every feature writes, laid out to be searched."""
    if not _finished(path, key):
        rows = dictionary.directions
        nearest.write(lambda a, b: rows[a:b].float().cpu().numpy(), len(rows), path, {"key": key})


def _fold(
    writer: Writer, subject: Subject, index: FeatureIndex, spool: Spool, seed: int, effects: int, progress: Progress
) -> None:
    """Fold every feature into its row, then measure what removing it does at its top examples."""
    places, rows_of = [], subject.rows
    for folded in Folder(index, spool, rows_of, seed).all():
        writer.feature(folded)
        places.append(top_places(folded, rows_of, effects))
        progress("fold", len(places), len(index))
    features = np.repeat(np.arange(len(index)), [len(rows) for rows, *_ in places])
    rows, values = (np.concatenate([place[i] for place in places]) for i in (0, 1))
    directions = subject.dictionary.directions
    found = loss_effects(
        subject.lm, rows_of.store, subject.target, directions, features, *rows_of.locate(rows), values,
        budget=BUDGET * len(rows_of), progress=lambda done, total: progress("effects", done, total),
    )  # fmt: skip
    bounds = np.searchsorted(features, np.arange(len(index) + 1))
    for feature, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        writer.effects(feature, rows[first:last], found[first:last])


def _facts(subject: Subject, run: Path) -> dict[str, object]:
    store, inside = subject.rows.store, (run / TEXT).resolve()
    return {
        "model": subject.lm.name,
        "fingerprint": subject.lm.fingerprint,
        "site": str(subject.site),
        "target": str(subject.target),
        "architecture": subject.dictionary.architecture,
        "n_features": subject.dictionary.n_features,
        "n_tokens": len(subject.rows),
        "n_documents": len(subject.rows.documents),
        "splits": list(subject.splits),
        "text": None if store.path.resolve() == inside else str(store.path.resolve()),
        "tokens": store.manifest["files"]["tokens.u32"]["sha256"],
    }
