"""Judging a run's dictionary beside its controls."""

from __future__ import annotations

import json as js
import sys
from pathlib import Path


def evaluate(run: Path = Path("monoscope-run"), *, json: bool = False) -> None:
    """Evaluate a run's dictionary on held-out text beside its controls, each number with its interval.

    Example: `monoscope evaluate monoscope-run --json`

    Parameters
    ----------
    run
        The run's folder.
    json
        Print JSON for programs.
    """
    from rich.console import Console

    from monoscope.app import stages, terminal
    from monoscope.app.run import Run

    opened = Run(run)
    stages.text(opened)
    stages.evaluation(opened, stages.trained(opened))
    if json:
        sys.stdout.write(js.dumps(opened.evaluation, ensure_ascii=False) + "\n")
    else:
        terminal.print_health(opened.evaluation or {}, Console())
