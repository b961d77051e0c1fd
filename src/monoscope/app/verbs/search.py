"""Searching a run's features by words."""

from __future__ import annotations

import sys
from pathlib import Path


def search(run: Path, query: str, *, limit: int = 20, json: bool = False) -> None:
    """Find features by words in their labels, tokens and examples.

    Example: `monoscope search monoscope-run "inside a docstring"`

    Parameters
    ----------
    run
        The run's folder.
    query
        Words.
    limit
        How many features at most.
    json
        Print JSON for programs.
    """
    import json as js

    from rich.console import Console

    from monoscope.app import terminal
    from monoscope.app.run import Run
    from monoscope.app.ui.payloads import number

    hits = Run(run).catalogue.search(query, limit=limit)
    if json:
        rows = [
            {"id": h.id, "label": h.label, "label_f1": number(h.label_f1), "density": h.density, "score": h.score}
            for h in hits
        ]
        sys.stdout.write(js.dumps({"hits": rows}, ensure_ascii=False) + "\n")
    else:
        terminal.print_hits(hits, Console())
