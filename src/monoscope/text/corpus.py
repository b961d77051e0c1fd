"""Opening a corpus by the text form that ``--text`` takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monoscope import plugins
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import Document

PLUGINS = "monoscope.text.corpora"


@dataclass(frozen=True)
class Corpus:
    """A plug-in and what it is to read. Every iteration gives the same documents again, in the same order."""

    plugin: str
    source: str

    def __iter__(self) -> Iterator[Document]:
        return iter(plugins.load(PLUGINS, self.plugin).documents(self.source))

    def __str__(self) -> str:
        return f"{self.plugin}:{self.source}" if self.source else self.plugin


def open_corpus(text: str | Path) -> Corpus:
    """The corpus that ``text`` names: ``PLUGIN``, ``PLUGIN:SOURCE``, or a bare path, which is read by ``files``.

    A third party's plug-in is named by its module: ``their_package.corpus:SOURCE``.

    Raises:
        MonoscopeError: no plug-in has the name and no file the path; the message lists the plug-ins.
    """
    text = str(text)
    known = plugins.names(PLUGINS)
    name, colon, source = text.partition(":")
    if name in known:
        return Corpus(name, source)
    if _is_path(text):
        return Corpus("files", text)
    if colon and "." in name and "/" not in name:
        plugins.load(PLUGINS, name)
        return Corpus(name, source)
    if not text.strip():
        raise MonoscopeError("no text is named", fix=f"name a file or folder, or a corpus: {', '.join(known)}")
    raise unknown_name("corpus", name, known)


def _is_path(text: str) -> bool:
    """Whether the text is a file or folder, or looks like one that may be misspelt or is a glob."""
    if os.path.exists(os.path.expanduser(text)):  # unlike Path.exists, False for a text too long to be a path
        return True
    head, _, _ = text.partition("#")
    return ":" not in head and any(c in head for c in "/\\*?[.~")
