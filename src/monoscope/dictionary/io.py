"""Saving and loading dictionaries in any format, recognised by content."""

from __future__ import annotations

from pathlib import Path

from monoscope import folder, plugins
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _hub
from monoscope.errors import MonoscopeError

FORMATS = "monoscope.dictionary.formats"
OURS = "monoscope"


def writable() -> list[str]:
    """The formats that can be written as well as read."""
    return [name for name in plugins.names(FORMATS) if hasattr(plugins.load(FORMATS, name), "save")]


def save(dictionary: Dictionary, path: str | Path, format: str = OURS) -> None:
    """Write ``dictionary`` into the folder ``path`` in the named format.

    Raises:
        MonoscopeError: no such format, it can only be read or cannot hold this dictionary, or the folder cannot be
            written.
    """
    plugin, path = plugins.load(FORMATS, format), Path(path)
    if not hasattr(plugin, "save"):
        raise MonoscopeError(f"the format {format} can only be read", fix=f"save in one of: {', '.join(writable())}")
    if format != OURS and folder.is_sealed(path):
        raise MonoscopeError(f"{path} holds a folder of Monoscope's own", fix="choose another folder")
    plugin.save(dictionary, path)


def load(path: str | Path) -> Dictionary:
    """Read the dictionary in ``path``: a folder or file of any supported format, a run folder that holds
    ``dictionary``, or a repository of the Hugging Face Hub as ``org/repo`` or ``org/repo:sub/folder``.

    Raises:
        MonoscopeError: there is nothing, it is damaged, or it is of no known format.
    """
    asked, place = str(path), Path(path)
    if not place.exists() and _hub.is_id(asked):
        place = _hub.fetch(asked, _files())
    for candidate in (place, place / "dictionary"):
        for name in plugins.names(FORMATS):
            plugin = plugins.load(FORMATS, name)
            if candidate.exists() and plugin.recognises(candidate):
                return plugin.load(candidate)
    what = "holds no dictionary of a known format, or a damaged one" if place.exists() else "does not exist"
    raise MonoscopeError(
        f"{path} {what}", fix=f"name a folder in one of these formats: {', '.join(plugins.names(FORMATS))}"
    )


def _files() -> list[str]:
    """The names of the files that formats read, and of ours within a run's folder."""
    names = {n: getattr(plugins.load(FORMATS, n), "FILES", ()) for n in plugins.names(FORMATS)}
    ours = [f"dictionary/{name}" for name in names[OURS]]
    return sorted({name for some in names.values() for name in some}) + ours
