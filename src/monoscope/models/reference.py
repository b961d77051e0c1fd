"""The reference models that travel with Monoscope: where a packaged name's folder is."""

from __future__ import annotations

from pathlib import Path

from monoscope.errors import MonoscopeError

NAMES = ("reference-a", "reference-b", "reference-c")


def folder(name: str) -> Path:
    """The folder of a packaged model.

    Raises:
        MonoscopeError: this installation does not hold it.
    """
    path = Path(__file__).parent / name.replace("-", "_")
    if not (path / "config.json").is_file():
        present = [n for n in NAMES if (Path(__file__).parent / n.replace("-", "_") / "config.json").is_file()]
        raise MonoscopeError(
            f"the packaged model {name!r} is not in this installation",
            where=str(path),
            fix=f"install Monoscope with its model files, or name another model (present: {', '.join(present) or '-'})",
        )
    return path
