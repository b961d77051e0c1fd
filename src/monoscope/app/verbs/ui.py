"""Serving the browser pages of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monoscope.app.verbs._checked import Port

if TYPE_CHECKING:
    from monoscope.app.atlas import Atlas
    from monoscope.app.run import Run


def ui(
    run: Path = Path("monoscope-run"), *, port: Port = 8377, browser: bool = True, also: list[Path] | None = None
) -> None:
    """Serve the pages of a run on this machine, until Ctrl-C.

    Example: `monoscope ui monoscope-run --no-browser`

    Parameters
    ----------
    run
        The run's folder.
    port
        The first port to try.
    browser
        Open the pages in a browser.
    also
        Further runs of the same model and site, shown on the map too.
    """
    from monoscope.app.run import Run

    show(Run(run), port=port, browser=browser, also=[Run(path) for path in also or []])


def show(run: Run, *, port: int, browser: bool, also: Sequence[Run] = ()) -> None:
    """Serve a run's pages until Ctrl-C; warms the reader first, so that the first answer is as quick as the others."""
    from monoscope.app.ui.blind import Blind
    from monoscope.app.ui.server import create_app, serve
    from monoscope.interpret.ratings import Ratings

    atlas = atlas_of([run, *also])
    run.reader.read("def warm(up):\n    return up\n")
    blind = Blind({"features": run.catalogue, **run.controls}, Ratings(run.path, run.catalogue.facts["key"]))
    app = create_app(run.catalogue, run.reader, annotations=run.annotations, blind=blind, atlas=atlas)
    serve(app, port=port, open_browser=browser)


def atlas_of(runs: Sequence[Run]) -> Atlas:
    """The map of some runs, kept in the first one's folder.

    Raises:
        MonoscopeError: they are of different models or sites.
    """
    from monoscope.app.atlas import Atlas, Part
    from monoscope.errors import MonoscopeError

    first = runs[0]
    for run in runs[1:]:
        if (run.plan.fingerprint, run.catalogue.facts["target"]) != (
            first.plan.fingerprint,
            first.catalogue.facts["target"],
        ):
            raise MonoscopeError(
                f"{run.path} and {first.path} are of different models or sites, so they share no map",
                where=str(run.path),
                fix="name runs of one model and site with --also",
            )
    parts = [Part(run.path.resolve().name, run.catalogue, run.dictionary.directions.detach().numpy()) for run in runs]
    return Atlas(parts, first.path)
