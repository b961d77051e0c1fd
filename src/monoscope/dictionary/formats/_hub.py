"""Dictionaries on the Hugging Face Hub: ``org/repo`` or ``org/repo:sub/folder``, through the local cache."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from monoscope import hub
from monoscope.dictionary.formats._weights import SUFFIXES
from monoscope.errors import MonoscopeError

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<within>[^:\\]+))?")


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
    within = (found["within"] or "").strip("/")
    prefix = f"{within}/" if within else ""
    wanted = [f"{prefix}{file}" for file in files] + ([within] if within else [])
    if PurePosixPath(within).suffix in SUFFIXES:
        above = PurePosixPath(within).parents[:2]
        wanted += [str(place / file) for place in above for file in files if file.endswith(".json")]
    try:
        only_cached = not hub.answers(found["repo"])
        patterns = [glob.escape(path) for path in wanted]
        snapshot = Path(snapshot_download(found["repo"], allow_patterns=patterns, local_files_only=only_cached))
    except (LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise hub.missing(found["repo"], "folder") from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise MonoscopeError(
            f"{name} is no folder here, and the Hub does not give it: {str(error).splitlines()[0]}",
            fix="check the name; for a gated repository, accept its terms and log in with `hf auth login`",
        ) from error
    place = snapshot / within
    if not place.exists():
        raise MonoscopeError(
            f"{found['repo']} holds no dictionary at {within or 'its top'}",
            fix="name the folder within the repository after a colon: org/repo:sub/folder",
        )
    return place
