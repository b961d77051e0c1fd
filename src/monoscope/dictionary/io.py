"""Saving and loading dictionaries in any format, recognised by content."""

from __future__ import annotations

from pathlib import Path

from monoscope import plugins
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError

FORMATS = "monoscope.dictionary.formats"


def save(dictionary: Dictionary, path: str | Path, format: str = "monoscope") -> None:
    """Write ``dictionary`` into the folder ``path`` in the named format.

    Raises:
        MonoscopeError: no such format, or the folder cannot be written.
    """
    plugins.load(FORMATS, format).save(dictionary, Path(path))


def load(path: str | Path) -> Dictionary:
    """Read the dictionary in ``path``: a folder of any supported format, or a run folder that holds ``dictionary``.

    Raises:
        MonoscopeError: the folder is missing, damaged, or of no known format.
    """
    for folder in (Path(path), Path(path) / "dictionary"):
        for name in plugins.names(FORMATS):
            plugin = plugins.load(FORMATS, name)
            if folder.is_dir() and plugin.recognises(folder):
                return plugin.load(folder)
    what = "holds no dictionary of a known format" if Path(path).exists() else "does not exist"
    raise MonoscopeError(
        f"{path} {what}", fix=f"name a folder in one of these formats: {', '.join(plugins.names(FORMATS))}"
    )
