"""Laying out the map of a run's features ahead of time."""

from __future__ import annotations

from pathlib import Path


def map(run: Path, *, also: list[Path] | None = None) -> None:
    """Compute the map that `monoscope ui` shows, and keep it in the run's folder.

    Example: `monoscope map monoscope-run`

    Parameters
    ----------
    run
        The run's folder.
    also
        Further runs of the same model and site, on the same map.
    """
    from rich.console import Console

    from monoscope.app.run import Run
    from monoscope.app.verbs.ui import atlas_of
    from monoscope.catalogue.layout import method

    console = Console(stderr=True)
    atlas = atlas_of([Run(path) for path in [run, *(also or [])]])
    n = atlas.about["n"]
    with console.status(f"laying out {n:,} features by {method()}"):
        atlas.compute()
    console.print(f"{n:,} features laid out by {method()}: {atlas.files[0]}")
    if method() == "pca":
        console.print("these are principal components; pip install 'monoscope\\[map]' gives a map by neighbourhoods")
