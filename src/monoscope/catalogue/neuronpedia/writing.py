"""Writing a catalogue for Neuronpedia's importer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

from monoscope import folder
from monoscope.catalogue.neuronpedia import rows
from monoscope.catalogue.neuronpedia.rows import Row, Source
from monoscope.catalogue.store import Catalogue
from monoscope.progress import bar

KIND = "Neuronpedia export"
BATCH = 256  # features a file


def export(catalogue: Catalogue, out: Path) -> Path:
    """Write ``out/{model}/{layer}-{set}/``; the folder is whole or not there, the same catalogue gives the same bytes.

    One batch of features is held at a time.

    Returns:
        The source's folder.

    Raises:
        MonoscopeError: ``out`` holds something else, or cannot be written.
    """
    source = Source.of(catalogue)
    with folder.renewing(out, KIND, {"format": 1}) as partial:
        base = partial / source.model / source.id
        for name in ("features", "activations", "explanations"):
            (base / name).mkdir(parents=True)
        for name, row in rows.about(catalogue, source).items():
            (base / f"{name}.jsonl").write_bytes(_line(row))
        with bar("writing batches", len(catalogue), unit="features") as report:
            for number, first in enumerate(range(0, len(catalogue), BATCH)):
                batch = range(first, min(len(catalogue), first + BATCH))
                _write_batch(catalogue, source, base, f"batch-{number}.jsonl.gz", batch)
                report(len(batch))
    return out / source.model / source.id


def _write_batch(catalogue: Catalogue, source: Source, base: Path, name: str, batch: range) -> None:
    features, activations, explanations = bytearray(), bytearray(), bytearray()
    for index in batch:
        found = catalogue[index]
        features += _line(rows.feature(found, source))
        activations += _lines(rows.activations(catalogue, found, source))
        explanations += _lines(rows.explanations(catalogue, index, found.label, source))
    parts = {"features": features, "activations": activations, "explanations": explanations}
    for folder_name, data in parts.items():
        if data:  # the importer reads the first line of every file
            (base / folder_name / name).write_bytes(gzip.compress(data, 6, mtime=0))


def _lines(found: Iterable[Row]) -> bytes:
    return b"".join(map(_line, found))


def _line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
