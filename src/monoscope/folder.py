"""Folders that are whole or not there: the manifest is written last, and names every file with its hash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from monoscope.errors import MonoscopeError

MANIFEST, PARTIAL = "manifest.json", ".partial"


def named(path: Any) -> str:
    """A path that somebody gave, as text.

    Raises:
        MonoscopeError: it is empty, or none.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise MonoscopeError(f"{path!r} is no path", fix="name a folder; . is the one that this runs in")
    return str(path)


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes so that a reader, or a restart, sees the old file or the new one, never half of it."""
    with replacing(path) as partial:
        partial.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file for the block to write; it takes the place of ``path`` when the block ends, whole, in one move.

    Raises:
        MonoscopeError: it cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        sync(partial)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # the folder itself may be what cannot be written
            partial.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def sync(path: Path) -> None:
    """Wait until a file is on the disk, so that nothing written after it says more than is there when power fails."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        MonoscopeError: the file is missing, unreadable or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MonoscopeError(
            f"there is no {path.name}", where=str(path.parent), fix="check the folder's name"
        ) from error
    except (OSError, ValueError) as error:
        raise MonoscopeError(
            f"{path.name} is damaged: {error}", where=str(path), fix="remove the folder and make it again"
        ) from error


def unwritable(path: Path, error: OSError) -> MonoscopeError:
    """The error for a file that cannot be written: a full disk, missing rights, a file where a folder should be."""
    misplaced = isinstance(
        error, FileExistsError | FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError
    )
    space = "free some space or choose another folder; finished work is kept, and the same command goes on from it"
    return MonoscopeError(
        f"cannot write {path.name}: {error.strerror or error}",
        where=str(path.parent),
        fix="choose another folder" if misplaced else space,
    )


def make_writable(path: Path) -> None:
    """Make a folder, and see that it takes files.

    Raises:
        MonoscopeError: it cannot be, or does not.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def seal(folder: Path, kind: str, facts: Mapping[str, Any], files: Iterable[str]) -> None:
    """Write the manifest that declares ``folder`` complete: its kind, facts, and each file's size and SHA-256."""
    files = list(files)
    for name in files:
        sync(folder / name)
    listed = {name: {"bytes": (folder / name).stat().st_size, "sha256": content_hash(folder / name)} for name in files}
    write_json(folder / MANIFEST, {"kind": kind, **facts, "files": listed})


def is_sealed(folder: Path) -> bool:
    """Whether the folder was completed."""
    return (folder / MANIFEST).is_file()


def manifest_of(folder: Path) -> dict[str, Any]:
    """A complete folder's manifest, whatever its kind.

    Raises:
        MonoscopeError: the manifest is missing or damaged.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict) or "kind" not in manifest:
        raise MonoscopeError(f"{MANIFEST} is damaged", where=str(folder), fix="remove the folder and make it again")
    return manifest


def unseal(folder: Path, kind: str) -> dict[str, Any]:
    """Read a complete folder's manifest and check that its files are there, whole in size.

    Raises:
        MonoscopeError: the folder is missing, half-written, of another kind, or a file's size differs.
    """
    if not is_sealed(folder):
        what = "is not complete" if folder.is_dir() else "does not exist"
        raise MonoscopeError(f"{folder} {what}", fix=f"run the command that writes this {kind} folder again")
    manifest = manifest_of(folder)
    if manifest["kind"] != kind:
        raise MonoscopeError(f"{folder} holds {manifest['kind']!r}, not {kind!r}", fix=f"name a {kind} folder")
    for name, facts in manifest["files"].items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != facts["bytes"]:
            found = "missing" if size is None else f"{size} bytes long, not {facts['bytes']}"
            raise MonoscopeError(f"{name} is {found}", where=str(folder), fix="remove the folder and make it again")
    return manifest


def verify(folder: Path) -> list[str]:
    """Compare every file with the hash in the manifest; returns the names of those that differ or are missing."""
    manifest = manifest_of(folder)
    return [
        name
        for name, facts in manifest["files"].items()
        if not (folder / name).is_file() or content_hash(folder / name) != facts["sha256"]
    ]


def contents(path: Path) -> list[str]:
    """The names in a folder, if it is one; without what a kill left of a file that was being written."""
    return [found.name for found in path.iterdir() if not found.name.endswith(PARTIAL)] if path.is_dir() else []


def check_ours(path: Path, kind: str) -> None:
    """Refuse to write into a folder that holds something else than an earlier one of this kind.

    Raises:
        MonoscopeError: it is a file, a link, or a folder with something else in it.
    """
    if path.is_dir() and not path.is_symlink():
        if not contents(path) or (is_sealed(path) and manifest_of(path)["kind"] == kind):
            return
    elif not path.exists() and not path.is_symlink():
        return
    raise MonoscopeError(
        f"{path} is there already and is no {kind} that monoscope wrote", fix="name a new folder, or remove that one"
    )


@contextmanager
def renewing(path: Path, kind: str, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A folder for the block to fill; sealed, it takes the place of ``path`` when the block ends.

    What an earlier block wrote there is kept until the new folder is whole; a block that fails leaves it as it was.

    Raises:
        MonoscopeError: ``path`` holds something else, or cannot be written.
    """
    check_ours(path, kind)
    partial, old = (path.with_name(f".{path.name}.{word}") for word in ("partial", "old"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        seal(partial, kind, facts, sorted(str(p.relative_to(partial)) for p in partial.rglob("*") if p.is_file()))
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
