"""Saving and loading dictionaries in any format, recognised by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monoscope import folder, plugins
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _hub
from monoscope.errors import MonoscopeError
from monoscope.ops.usual import usual

FORMATS = "monoscope.dictionary.formats"
OURS = "monoscope"


def writable() -> list[str]:
    """The formats that can be written as well as read."""
    return [name for name in plugins.names(FORMATS) if hasattr(plugins.load(FORMATS, name), "save")]


def save(dictionary: Dictionary, path: str | Path, format: str = OURS) -> None:
    """Write ``dictionary`` into the folder ``path`` in the named format.

    Raises:
        MonoscopeError: no such format, it can only be read or cannot hold this dictionary, or the folder cannot be
            written, or holds something else.
    """
    plugin, path = plugins.load(FORMATS, format), Path(folder.named(path))
    if not hasattr(plugin, "save"):
        raise MonoscopeError(f"the format {format} can only be read", fix=f"save in one of: {', '.join(writable())}")
    if folder.is_sealed(path) and folder.manifest_of(path)["kind"] != getattr(plugin, "KIND", None):
        raise MonoscopeError(f"{path} holds a folder of Monoscope's own", fix="choose another folder")
    other = [name for name in _recognised(path) if name != format]
    if other:  # formats share names of files: one would be overwritten in part, or hide the other
        raise MonoscopeError(f"{path} holds a dictionary in the format {other[0]}", fix="choose another folder")
    try:
        plugin.save(dictionary, path)
    except OSError as error:
        raise folder.unwritable(path, error) from error


def load(path: str | Path) -> Dictionary:
    """Read the dictionary in ``path``: a folder or file of any supported format, a run folder that holds
    ``dictionary``, or a repository of the Hugging Face Hub as ``org/repo`` or ``org/repo:sub/folder``, with
    ``org/repo@revision`` at a branch, tag or commit. ``provenance["source"]`` then says which commit was read.

    Raises:
        MonoscopeError: there is nothing, it is damaged, or it is of no known format, or of several.
    """
    asked, told = folder.named(path), dict[str, Any]()
    place = Path(asked)
    if not place.exists() and _hub.is_id(asked):
        place = _hub.fetch(asked, _files())
        told["source"] = _hub.origin(asked, place)
    for candidate in (place, place / "dictionary"):
        found = _recognised(candidate)
        if len(found) > 1:
            raise MonoscopeError(
                f"{candidate} holds dictionaries in several formats: {', '.join(found)}",
                fix="put the files of the one that is meant into a folder of their own",
            )
        if found:
            plugin = plugins.load(FORMATS, found[0])
            with usual():
                made: Dictionary = plugin.load(candidate)
            by_name = plugin.told_by(asked) if told and hasattr(plugin, "told_by") else {}
            made.provenance = {**by_name, **made.provenance, **told}
            return made
    what = "holds no dictionary of a known format, or a damaged one" if place.exists() else "does not exist"
    raise MonoscopeError(f"{path} {what}", fix=_instead(asked, place))


def _recognised(path: Path) -> list[str]:
    """The formats that what is there may be in. A folder of ours is nothing else, whatever lies beside our files."""
    names = plugins.names(FORMATS) if path.exists() else []
    found = [name for name in names if plugins.load(FORMATS, name).recognises(path)]
    return [OURS] if OURS in found else found


def _instead(asked: str, place: Path) -> str:
    """What to name in place of a path that holds no single dictionary: one that lies within, if there is one."""
    inner = next((p for p in sorted(place.iterdir()) if _recognised(p)), None) if place.is_dir() else None
    if inner is None:
        return f"name a folder in one of these formats: {', '.join(plugins.names(FORMATS))}"
    joint = ":" if place != Path(asked) and ":" not in asked else "/"  # of the Hub, the first step takes a colon
    return f"name one that lies within, such as {asked.rstrip('/')}{joint}{inner.name}"


def _files() -> list[str]:
    """The names of the files that formats read, and of ours within a run's folder."""
    names = {n: getattr(plugins.load(FORMATS, n), "FILES", ()) for n in plugins.names(FORMATS)}
    ours = [f"dictionary/{name}" for name in names[OURS]]
    return sorted({name for some in names.values() for name in some}) + ours
