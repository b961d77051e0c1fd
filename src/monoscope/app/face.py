"""The parts of the public face that open a run's folder."""

from __future__ import annotations

from pathlib import Path

from monoscope import folder
from monoscope.app import plan
from monoscope.app.reading_shown import Reading
from monoscope.app.run import Run
from monoscope.catalogue.store import Catalogue


def open_catalogue(run: str | Path) -> Catalogue:
    """Open the catalogue in a run's folder (``ms.open_catalogue``).

    Raises:
        MonoscopeError: there is none, or it is unfinished or damaged.
    """
    run = folder.named(run)
    return Run(run).catalogue if (Path(run) / plan.NAME).is_file() else Catalogue(run)


def read(run: str | Path, text: str) -> Reading:
    """Read a text with a run's model and features (``ms.read``).

    Returns:
        ``{"tokens": [{"text", "start", "end", "features": [{"id", "value", "label", "label_f1"}]}]}``, strongest first;
        a dictionary that shows itself in a notebook.

    Raises:
        MonoscopeError: there is no such run, or no such text.
    """
    return Reading(Run(folder.named(run)).reader.read(text))
