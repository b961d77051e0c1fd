"""Python source on this machine: the standard library, then installed packages, in a fixed order.

Every machine that runs Monoscope has this text, it is large, and the truth about it can be computed: Python's own
``tokenize`` and ``ast`` say what each token is.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from monoscope.errors import MonoscopeError
from monoscope.types import Document

MIN_BYTES, MAX_BYTES = 256, 400_000  # shorter files are mostly licence text, longer ones mostly generated tables


def roots() -> list[tuple[str, Path]]:
    """The folders that are read, as (prefix of the document names, folder)."""
    paths = sysconfig.get_paths()
    found: list[tuple[str, Path]] = []
    for prefix, key in (("stdlib", "stdlib"), ("", "purelib"), ("", "platlib")):
        folder = Path(paths[key]).resolve()
        if folder.is_dir() and all(folder != seen for _, seen in found):
            found.append((prefix, folder))
    return found


def paths() -> Iterator[tuple[str, Path]]:
    """Every Python file as (document name, path), in the order of the names; names do not depend on the machine."""
    for prefix, root in roots():
        for name in sorted(_names(root, installed=prefix != "stdlib")):
            yield (f"{prefix}/{name}" if prefix else name), root / name


def _names(root: Path, *, installed: bool) -> Iterator[str]:
    """Python files below a folder, of installed packages too or not, with slashes between folders."""
    for folder, inner, files in os.walk(root):
        if not installed and "site-packages" in inner:
            inner.remove("site-packages")
        above = "" if folder == str(root) else f"{Path(folder).relative_to(root).as_posix()}/"
        yield from (f"{above}{name}" for name in files if name.endswith(".py"))


def read(path: Path) -> str | None:
    """The file's text, or None when it cannot be read, is not UTF-8, or is not of a usable size."""
    try:
        if not MIN_BYTES <= path.stat().st_size <= MAX_BYTES:
            return None
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text.replace("\r\n", "\n")


def documents(source: str = "") -> Iterator[Document]:
    """Python files whose document name begins with ``source`` (all of them by default).

    Raises:
        MonoscopeError: not one file matches.
    """
    found = False
    for name, path in paths():
        if name.startswith(source):
            text = read(path)
            if text is not None:
                found = True
                yield Document(name, text)
    if not found:
        raise MonoscopeError(
            f"no Python source whose name begins with {source!r}",
            where=", ".join(str(p) for _, p in roots()),
            fix="use --text python_source for all of it, or --text files:PATH for a folder of your own",
        )
