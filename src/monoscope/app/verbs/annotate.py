"""Writing what people say of features as JSON, and reading it back."""

from __future__ import annotations

from pathlib import Path


def annotate(run: Path, *, take: Path | None = None, out: Path | None = None) -> None:
    """Print the labels, votes, notes and bookmarks that people gave in the pages, as JSON; or take in such a file.

    Example: `monoscope annotate monoscope-run --out mine.json`

    Parameters
    ----------
    run
        The run's folder.
    take
        A file of annotations to add; those of the same features are replaced.
    out
        The file to write; without it they are printed.
    """
    import json
    import sys

    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError

    held = Run(run).annotations
    try:
        if take is not None:
            count = held.from_json(take.read_text(encoding="utf-8"), str(take))
            sys.stderr.write(f"{count} annotations taken in\n")
            return
        text = json.dumps(held.to_json(), ensure_ascii=False, indent=1) + "\n"
        if out is None:
            sys.stdout.write(text)
        else:
            out.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MonoscopeError(
            f"the file cannot be used: {error}", where=str(take or out), fix="name another file"
        ) from error
