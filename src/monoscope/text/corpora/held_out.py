"""Text that the reference models never saw: this machine's Python source, with a little of the rarer kinds.

A sketch of the models' training documents travels with the package, so that a file that is one of them, or a near copy
of one (another version of the same library), is passed over on any machine. After every ``PYTHON_BYTES`` of Python
comes a document of a rarer kind: held-out verses in four scripts (CC0), base64, hexadecimal, DNA.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np

from monoscope.errors import MonoscopeError
from monoscope.text.corpora import python_source, synthetic_strings
from monoscope.text.near_duplicates import Sketch
from monoscope.types import Document

DATA = Path(__file__).parent.parent / "held_out"
SCRIPTS = ("cherokee", "gujarati", "syriac", "ukrainian")
PYTHON_BYTES = 24_000
VERSES = 4  # to a document; short ones, so that rare kinds stay rare and yet are met in many documents


@cache
def seen() -> Sketch:
    """The sketch of what the reference models were trained on.

    Raises:
        MonoscopeError: this installation lacks it.
    """
    path = DATA / "seen.npz"
    if not path.is_file():
        raise MonoscopeError(
            "the sketch of the reference models' training text is not in this installation",
            where=str(path),
            fix="install Monoscope with its data files, or name a text of your own with --text",
        )
    with np.load(path) as file:
        return Sketch(file["names"], file["signatures"])


def unseen_python() -> Iterator[Document]:
    """Python source that is no near-duplicate of training text, in an order that mixes all packages."""
    files = [(name, path) for name, path in python_source.paths() if not seen().knows_name(name)]
    for name, path in sorted(files, key=lambda f: (zlib.crc32(f[0].encode()), f[0])):
        text = python_source.read(path)
        if text is not None and not seen().knows_text(text):
            yield Document(name, text)


def verses(script: str) -> Iterator[Document]:
    """The packaged held-out extract of a script, some verses to a document."""
    rows = (DATA / f"{script}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    for i in range(0, len(rows), VERSES):
        yield Document(f"{script}/{i // VERSES}", "".join(rows[i : i + VERSES]))


def rarer() -> Iterator[Document]:
    """Documents of the rarer kinds in turn; a script that is used up drops out, generated strings never end."""
    sources: dict[str, Iterator[Document]] = {s: verses(s) for s in SCRIPTS}
    sources |= {kind: synthetic_strings.stream(kind, "held_out", strings=1) for kind in synthetic_strings.KINDS}
    spent: set[str] = set()
    for name in cycle(sources):
        document = None if name in spent else next(sources[name], None)
        if document is None:
            spent.add(name)
        else:
            yield document


def documents(source: str = "") -> Iterator[Document]:
    """The mixture; with ``source`` ``"python"`` only the Python part, with a script's name only its verses.

    Raises:
        MonoscopeError: no such part, or no unseen Python source on this machine.
    """
    if source in SCRIPTS:
        yield from verses(source)
        return
    if source not in ("", "python"):
        raise MonoscopeError(f"held_out has no part {source!r}", fix=f"its parts: python, {', '.join(SCRIPTS)}")
    rare, size, found = rarer(), 0, False
    for document in unseen_python():
        yield document
        found = True
        size += len(document.text)
        while not source and size >= PYTHON_BYTES:
            size -= PYTHON_BYTES
            yield next(rare)
    if not found:
        raise MonoscopeError(
            "every Python file on this machine is text that the reference models were trained on",
            fix="name a text of your own with --text files:FOLDER",
        )
