"""Dictionaries on the Hugging Face Hub: ``org/repo``, ``org/repo@revision``, ``org/repo@revision:sub/folder``.

They come through the local cache, which says which commit was read.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from monoscope import hub
from monoscope.dictionary.formats._weights import SUFFIXES
from monoscope.errors import MonoscopeError

_ID = re.compile(rf"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>{hub.REVISION}))?(:(?P<within>[^:\\]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_id(text: str) -> bool:
    """Whether this may name a repository, and a folder or file in it."""
    found = _ID.fullmatch(text)
    return found is not None and ".." not in (found["within"] or "").split("/") and not hub.is_path(found["repo"])


def fetch(name: str, files: Sequence[str]) -> Path:
    """Bring the files of these names into the cache; returns the folder, or the file if ``name`` says one.

    With a file come the configurations beside it and in the folder above. Nothing else of the repository is downloaded.
    With ``HF_HUB_OFFLINE=1`` only the cache is looked at.

    Raises:
        MonoscopeError: there is no such repository, no access, no network, or nothing of it in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    found = _ID.fullmatch(name)
    assert found is not None
    within, revision = _within(name), found["revision"]
    prefix = f"{within}/" if within else ""
    wanted = [f"{prefix}{file}" for file in files] + ([within] if within else [])
    if PurePosixPath(within).suffix in SUFFIXES:
        above = PurePosixPath(within).parents[:2]
        wanted += [str(place / file) for place in above for file in files if file.endswith(".json")]
    try:
        only_cached = not hub.answers(found["repo"])
        patterns = [glob.escape(path) for path in wanted]
        snapshot = Path(
            snapshot_download(found["repo"], revision=revision, allow_patterns=patterns, local_files_only=only_cached)
        )
    except (LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise hub.missing(found["repo"], "folder", revision) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise MonoscopeError(
            f"{name} is no folder here, and the Hub does not give it: {str(error).splitlines()[0]}",
            fix="check the name, and the revision if it has one; for a gated repository, accept its terms and log in "
            "with `hf auth login`",
        ) from error
    place = snapshot / within
    if not place.exists():
        raise MonoscopeError(
            f"{found['repo']} holds no dictionary at {within or 'its top'}",
            fix="name the folder within the repository after a colon: org/repo:sub/folder",
        )
    return place


def origin(name: str, place: Path) -> str:
    """``name`` with the commit that was read: typed again, it names the same files. ``place`` is what ``fetch`` gave.

    Without a commit where the place is none in a cache.
    """
    found = _ID.fullmatch(name)
    assert found is not None
    within = _within(name)
    snapshot = place.parents[len(PurePosixPath(within).parts) - 1] if within else place
    revision = snapshot.name if _COMMIT.fullmatch(snapshot.name) else found["revision"]
    return found["repo"] + (f"@{revision}" if revision else "") + (f":{within}" if within else "")


def _within(name: str) -> str:
    return (name.partition(":")[2]).strip("/")
