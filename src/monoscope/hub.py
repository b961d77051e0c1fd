"""The Hugging Face Hub: what can be a name there, and whether it answers, asked once and briefly.

Its own client tries for half a minute before it gives up, too long where a path was mistyped.
"""

from __future__ import annotations

import re
from pathlib import Path

from monoscope.errors import MonoscopeError

PATIENCE = 3.0  # seconds for a connection, and again for an answer
FILES = (".safetensors", ".npz", ".pt", ".pth", ".bin", ".json", ".toml")  # how no repository's name ends
REVISION = r"(?![^:]*\.\.)\w[\w./+-]*"  # a branch, a tag or a commit, as git names them
_REVISED = re.compile(rf"(?P<repository>[\w.-]+(/[\w.-]+)?)@(?P<revision>{REVISION})")


def split(name: str) -> tuple[str, str | None]:
    """Repository and revision of ``org/repo@revision``; without a revision the whole name is the repository."""
    found = _REVISED.fullmatch(name)
    return (name, None) if found is None else (found["repository"], found["revision"])


def is_path(name: str) -> bool:
    """Whether a name can only be meant as a path: it begins or ends as one, or has more parts than the Hub knows."""
    return name.startswith(("/", "~", ".")) or name.endswith(FILES) or name.count("/") > 1


def beside(name: str) -> Path | None:
    """The folder here in which ``name`` would be, as ``runs`` of ``runs/one``: a path was meant then."""
    parent = Path(name).parent
    return parent if parent.name and parent.is_dir() else None


def answers(name: str, kind: str = "model") -> bool:
    """Whether the Hub can be asked about the repository ``name`` of that kind, whatever it says; never of a path."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if is_path(name) or beside(name):
        return False
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=PATIENCE)
    except HfHubHTTPError:
        return True  # which says no
    except Exception:  # each version of the client lets through what another HTTP library raises
        return False
    return True


def missing(name: str, what: str, revision: str | None = None) -> MonoscopeError:
    """The error for a ``what``, such as *folder*, that is neither here nor in the cache where the Hub was not asked."""
    here, asked = beside(name), name if revision is None else f"{name}@{revision}"
    if revision is not None and Path(name).exists():
        return MonoscopeError(
            f"{name!r} is here, and no repository with a revision {revision!r}", fix=f"leave out @{revision}"
        )
    if here is not None:
        return MonoscopeError(
            f"there is no {name!r}: the folder {here} holds no {Path(name).name!r}",
            fix="check the path; to have a repository of that name from the Hub, start where no such folder is",
        )
    if is_path(name):
        return MonoscopeError(f"there is no {what} {asked!r}", fix="check the path")
    return MonoscopeError(
        f"{asked!r} is no {what} here, and not in the local cache of the Hugging Face Hub, which cannot be reached",
        fix="correct the name; or connect once (and unset HF_HUB_OFFLINE, the offline mode) so that it is fetched",
    )
