"""The browser pages of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monoscope.app.run import Run


def ui(run: Path = Path("monoscope-run"), *, port: int = 8377, browser: bool = True) -> None:
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
    """
    from monoscope.app.run import Run

    show(Run(run), port=port, browser=browser)


def show(run: Run, *, port: int, browser: bool) -> None:
    """Serve a run's pages until Ctrl-C; warms the reader first, so that the first answer is as quick as the others."""
    from monoscope.app.ui.blind import Blind
    from monoscope.app.ui.server import create_app, serve
    from monoscope.interpret.ratings import Ratings

    run.reader.read("def warm(up):\n    return up\n")
    blind = Blind({"features": run.catalogue, **run.controls}, Ratings(run.path, run.catalogue.facts["key"]))
    app = create_app(run.catalogue, run.reader, annotations=run.annotations, blind=blind)
    serve(app, port=port, open_browser=browser)
