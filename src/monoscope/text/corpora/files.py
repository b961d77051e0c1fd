"""Your own text: files, folders and globs of plain text, JSON lines and Parquet.

``files:PATH``, where PATH is a file, a folder (everything in it that is text, hidden files left out) or a glob
(``notes/**/*.md``). A row of a ``.jsonl`` or ``.parquet`` file is a document; its text is in the field ``text``, or in
another one that is named after a ``#``: ``files:reviews.jsonl#body``.

A plain-text file is one document when it holds at most ``WHOLE`` characters or is program source. A longer one is cut
into pieces of about 16,000 characters, before headings where it has any, else at blank lines, else at line ends, so
that a single file of many articles can be split by document. Joined again, the pieces are the file.

Documents are named by their path below the given folder, or below the part of a glob before its first wildcard, and
by the number of the line, row or piece, from 1: ``notes/march.txt``, ``reviews.jsonl/17``. Order is that of the paths.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import Document

PROSE = {".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".adoc", ".html", ".xml", ".csv", ".tsv", ".log"}
SOURCE = {
    *(
        ".py",
        ".pyi",
        ".js",
        ".mjs",
        ".ts",
        ".jsx",
        ".tsx",
        ".css",
        ".c",
        ".h",
        ".cc",
        ".cpp",
        ".hpp",
        ".cu",
        ".rs",
        ".go",
    ),
    *(
        ".java",
        ".kt",
        ".swift",
        ".rb",
        ".php",
        ".pl",
        ".lua",
        ".r",
        ".jl",
        ".hs",
        ".ml",
        ".scala",
        ".clj",
        ".ex",
        ".sh",
    ),
    *(".sql", ".json", ".toml", ".yaml", ".yml", ".ini", ".cfg"),
}
JSON_LINES = {".jsonl", ".ndjson"}
PARQUET = {".parquet"}
KNOWN = PROSE | SOURCE | JSON_LINES | PARQUET
FIELD = "text"
OURS = ("plan.json", "harvest.json", "manifest.json")  # one of which is in each folder that Monoscope writes

WHOLE = 65_536  # a longer file of prose is cut; characters, as the next two
SMALLEST, LARGEST = 12_000, 24_000
BOUNDARIES = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"^(?=[ ]?= [^=].*[^=] =[ ]?$|# )",  # an article's title: wiki markup, Markdown
        r"^(?=[ ]?=(?: =)+ .* =[ ]?$|#{2,6} )",  # a section's
        r"\n[ \t]*\n+",
        r"\n",
        r"\s",
    )
]
READ = 1 << 20


def documents(source: str) -> Iterator[Document]:
    """The documents of a file, folder or glob, with an optional ``#FIELD``.

    Raises:
        MonoscopeError: nothing is there (names the nearest file), a file is binary, undecodable or malformed, the
            field is missing, or there is no text at all.
    """
    pattern, field = _field_of(source)
    found = False
    for name, path in paths(pattern):
        for document in _read(name, path, field):
            if document.text and not document.text.isspace():
                found = True
                yield document
    if not found:
        raise MonoscopeError("the text is empty", where=pattern, fix="name files with text in them")


def paths(pattern: str) -> list[tuple[str, Path]]:
    """The files of a path, folder or glob as (document name, path), in the order of their names.

    Raises:
        MonoscopeError: there are none.
    """
    path = Path(pattern).expanduser()
    if path.is_file():
        return [(path.name, path)]
    root, candidates = (path, path.rglob("*")) if path.is_dir() else _glob(path)
    if path.is_dir():
        candidates = (p for p in candidates if p.suffix.lower() in KNOWN)
    files = [(p.relative_to(root).as_posix(), p) for p in candidates if p.is_file()]
    kept = sorted((name, p) for name, p in files if not any(part.startswith(".") for part in name.split("/")))
    if not kept:
        raise _nothing_at(path)
    return kept


def pieces(parts: Iterator[str]) -> Iterator[str]:
    """Cut a text that arrives in parts; the pieces joined are the text, and never more than one part is held."""
    text = ""
    for part in parts:
        text += part
        while len(text) > LARGEST:
            stop = _cut(text)
            yield text[:stop]
            text = text[stop:]
    if text:
        yield text


def _cut(text: str) -> int:
    """Where the first piece ends: the first boundary of the best kind that there is between the two sizes."""
    for boundary in BOUNDARIES:
        match = boundary.search(text, SMALLEST, LARGEST)
        if match:
            return match.end()
    return LARGEST


def _field_of(source: str) -> tuple[str, str]:
    if Path(source).expanduser().exists():
        return source, FIELD
    pattern, mark, field = source.rpartition("#")
    return (pattern, field or FIELD) if mark else (source, FIELD)


def _glob(path: Path) -> tuple[Path, Iterator[Path]]:
    """The folder before the first wildcard, and what matches below it."""
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), None)
    if first is None:
        return path, iter(())
    root = Path(*parts[:first])
    return root, root.glob("/".join(parts[first:]))


def _nothing_at(path: Path) -> MonoscopeError:
    if path.is_dir():
        return MonoscopeError(
            "the folder holds no text files", where=str(path), fix="name files with a glob: files:DIR/*"
        )
    folder = next((p for p in path.parents if p.is_dir()), Path())
    missing = path.relative_to(folder).parts[0] if path.is_relative_to(folder) else path.name
    near = difflib.get_close_matches(
        missing, sorted(p.name for p in folder.iterdir() if _may_hold_text(p)), n=1, cutoff=0.4
    )
    fix = f"did you mean {str(folder / near[0])!r}?" if near else "check the path; it is relative to the current folder"
    return MonoscopeError(f"there are no files at {str(path)!r}", fix=fix)


def _may_hold_text(path: Path) -> bool:
    """Whether to suggest it: a folder that Monoscope or another program made for itself is none."""
    if path.is_dir():
        return not path.name.startswith(".") and not any((path / name).exists() for name in OURS)
    return path.suffix.lower() in KNOWN


def _read(name: str, path: Path, field: str) -> Iterator[Document]:
    suffix = path.suffix.lower()
    try:
        if suffix in JSON_LINES:
            yield from _json_lines(name, path, field)
        elif suffix in PARQUET:
            yield from _parquet(name, path, field)
        else:
            yield from _plain(name, path, suffix)
    except UnicodeDecodeError as error:
        raise MonoscopeError(
            f"{path.name} is not UTF-8 text: {error.reason}",
            where=str(path),
            fix="convert it to UTF-8, or leave it out",
        ) from error
    except OSError as error:
        raise MonoscopeError(f"cannot read {path.name}: {error.strerror or error}", where=str(path)) from error


def _plain(name: str, path: Path, suffix: str) -> Iterator[Document]:
    whole = suffix in SOURCE or path.stat().st_size <= WHOLE
    parts = _parts(path)
    if whole:
        yield Document(name, "".join(parts))
        return
    for i, piece in enumerate(pieces(parts), start=1):
        yield Document(f"{name}/{i}", piece)


def _parts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as file:
        while part := file.read(READ):
            if "\0" in part:
                raise MonoscopeError(f"{path.name} is binary, not text", where=str(path), fix="leave it out")
            yield part


def _json_lines(name: str, path: Path, field: str) -> Iterator[Document]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise MonoscopeError(f"line {number} of {path.name} is not JSON: {error}", where=str(path)) from error
            if not isinstance(row, dict):
                raise MonoscopeError(f"line {number} of {path.name} is no JSON object", where=str(path))
            if field not in row:
                raise unknown_name(f"field of {path.name}, line {number}:", field, map(str, row))
            yield Document(f"{name}/{number}", _text(row[field], field, f"{path}, line {number}"))


def _parquet(name: str, path: Path, field: str) -> Iterator[Document]:
    if find_spec("pyarrow") is None:
        raise MonoscopeError("Parquet files need pyarrow", where=str(path), fix='pip install "monoscope[data]"')
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        if field not in file.schema_arrow.names:
            raise unknown_name(f"column of {path.name}:", field, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=[field]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield Document(f"{name}/{number}", _text(value, field, f"{path}, row {number}"))
    except pyarrow.ArrowInvalid as error:
        raise MonoscopeError(f"{path.name} is no readable Parquet file: {error}", where=str(path)) from error


def _text(value: Any, field: str, where: str) -> str:
    """A field's text: None is empty, and half a surrogate pair, which JSON can hold and UTF-8 cannot, is replaced."""
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise MonoscopeError(
            f"the field {field!r} holds a {kind}, not text", where=where, fix="name another: PATH#FIELD"
        )
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
