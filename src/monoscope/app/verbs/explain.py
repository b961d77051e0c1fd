"""Labelling a run's features with tested concepts."""

from __future__ import annotations

import json as js
import sys
from dataclasses import asdict
from pathlib import Path

FIELDS = ("kind", "concept", "threshold", "precision", "recall", "f1", "f1_low", "f1_high", "baseline_f1", "support")


def explain(run: Path = Path("monoscope-run"), *, json: bool = False) -> None:
    """Label features with the concepts that describe them best, tested on text that chose nothing.

    Example: `monoscope explain monoscope-run --json`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    json
        Print JSON for programs.
    """
    from rich.console import Console

    from monoscope.app import stages, terminal
    from monoscope.app.run import Run
    from monoscope.app.ui.payloads import number

    opened = Run(run)
    stages.labels(opened, opened.catalogue)
    if not json:
        terminal.print_summary(opened.catalogue, Console())
        return
    found = []
    for record in opened.catalogue:
        if record.label is not None:
            label = asdict(record.label)
            values = {k: number(v) if isinstance(v := label[k], float) else v for k in FIELDS}
            found.append({"id": record.id, **values})
    sys.stdout.write(js.dumps({"features": found}, ensure_ascii=False) + "\n")
