"""Reading the explanations of a Neuronpedia export, ours or theirs, onto a catalogue of the same dictionary.

Files may come from anybody: they are read line by line, a line has a longest length, and a file may not inflate to more
than a hundred times its size.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.progress import bar

EXPLAINER = "neuronpedia"
LONGEST_LINE = 8 << 20  # bytes
INFLATION, FREE = 100, 16 << 20  # a file may inflate this many times, or to this many bytes, whichever is more
LONGEST_WORDS = 10_000  # characters of an explanation
MOST = 100  # explanations of one feature
KEPT = ("id", "authorId", "typeName", "explanationModelName", "notes")  # of the row, as detail


def import_explanations(catalogue: Catalogue, path: Path) -> int:
    """Write an export's explanations onto a catalogue; returns how many.

    The first of a feature is kept as explainer ``neuronpedia``, further ones as ``neuronpedia 2``, …; of an earlier
    import of this kind, those that come again are replaced.

    Args:
        catalogue: of the same dictionary; that is judged by the features' numbers.
        path: a source's folder, with ``features/`` and ``explanations/``; or one above it that holds a single source.

    Raises:
        MonoscopeError: there is no such folder, a file is damaged, or it is of a dictionary with other features.
    """
    base = source_folder(path)
    _check_features(catalogue, base)
    found = list(read_explanations(base))
    if not found:
        raise MonoscopeError("this export holds no explanations", where=str(base), fix="name one that does")
    catalogue.write_explanations(found)
    return len(found)


def source_folder(path: Path) -> Path:
    """The folder that holds ``features/``: the one named, or the only one below it.

    Raises:
        MonoscopeError: there is none, or there are several.
    """
    found = sorted(p.parent for pattern in ("features", "*/features", "*/*/features") for p in path.glob(pattern))
    if len(found) == 1:
        return found[0]
    if not found:
        raise MonoscopeError(
            f"{path} holds no Neuronpedia export: there is no folder features/ in it",
            fix="name the folder of a source, with features/ and explanations/; without its features nobody can "
            "tell whether it is of this dictionary",
        )
    names = ", ".join(str(p.relative_to(path)) for p in found[:5])
    raise MonoscopeError(f"{path} holds {len(found)} sources: {names}", fix="name one of them")


def read_explanations(base: Path) -> Iterator[Explanation]:
    """The explanations of a source's folder, file after file.

    Raises:
        MonoscopeError: a file is damaged, or a row is no explanation.
    """
    seen: Counter[int] = Counter()
    for where, row in _rows(base / "explanations", "reading explanations"):
        index, words = _index(row, where), row.get("description")
        if not isinstance(words, str) or len(words) > LONGEST_WORDS:
            raise _damaged(where, f"description is no text of at most {LONGEST_WORDS:,} characters")
        if not words.strip():
            continue
        detail = {name: row[name] for name in KEPT if isinstance(row.get(name), str)}
        seen[index] += 1
        if seen[index] > MOST:
            raise _damaged(where, f"more than {MOST} explanations of feature {index}")
        name = EXPLAINER if seen[index] == 1 else f"{EXPLAINER} {seen[index]}"
        yield Explanation(index, name, words, detail=detail)


def _check_features(catalogue: Catalogue, base: Path) -> None:
    """Refuse an export whose features are not numbered 0 to n − 1, each once, n that of the catalogue."""
    seen = bytearray(len(catalogue))
    count = 0
    for where, row in _rows(base / "features", "counting features"):
        index = _index(row, where)
        count += 1
        if index < len(seen):
            if seen[index]:
                raise _damaged(where, f"feature {index} comes twice")
            seen[index] = 1
    if count != len(seen) or not all(seen):
        raise MonoscopeError(
            f"the export has {count:,} features, the catalogue {len(seen):,}: they are of different dictionaries",
            where=str(base),
            fix="import into the run whose dictionary the export was made from",
        )


def _index(row: dict[str, Any], where: str) -> int:
    index = row.get("index")
    text = str(index) if isinstance(index, (str, int)) and not isinstance(index, bool) else ""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise _damaged(where, f"index is {str(index)[:40]!r}, not a feature's number")
    return int(text)


def _rows(path: Path, title: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of every line of every batch in a folder, in the order of the batches' numbers."""
    files = sorted(path.glob("*.jsonl.gz"), key=lambda p: (int(re.sub(r"\D", "", p.name)[:9] or 0), p.name))
    with bar(title, len(files), unit="files") as report:
        for file in files:
            for number, line in enumerate(_lines(file), 1):
                where = f"{file}, line {number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise _damaged(where, f"no JSON: {str(error)[:80]}") from error
                if not isinstance(row, dict):
                    raise _damaged(where, "no JSON object")
                yield where, row
            report(1)


def _lines(file: Path) -> Iterator[bytes]:
    allowed = max(FREE, INFLATION * file.stat().st_size)
    try:
        with gzip.open(file) as lines:
            while line := lines.readline(LONGEST_LINE + 1):
                allowed -= len(line)
                if len(line) > LONGEST_LINE:
                    raise _damaged(str(file), f"a line is longer than {LONGEST_LINE >> 20} MiB")
                if allowed < 0:
                    raise _damaged(str(file), f"it inflates to more than {INFLATION} times its size")
                if line.strip():
                    yield line
    except (EOFError, OSError, zlib.error) as error:
        raise _damaged(str(file), f"not a whole gzip file: {error}") from error


def _damaged(where: str, what: str) -> MonoscopeError:
    return MonoscopeError(f"this is no Neuronpedia export: {what}", where=where, fix="download it again, or remove it")
