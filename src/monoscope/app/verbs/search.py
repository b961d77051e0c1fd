"""Searching a run's features."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from monoscope.app.verbs._listed import WAY


def search(
    run: Path,
    query: str,
    *,
    by: Annotated[str, WAY] = "words",
    also: tuple[str, ...] = (),
    unlike: Annotated[tuple[str, ...], Parameter(name="--not")] = (),
    density: str = "..",
    max: str = "..",
    median: str = "..",
    loss_effect: str = "..",
    min_f1: float = 0.0,
    min_f1_low: float = 0.0,
    kind: str = "",
    living: bool = False,
    embedder: Path | None = None,
    limit: int = 20,
    json: bool = False,
) -> None:
    """Find features: by words, by texts that they fire on, by what they promote, by direction …

    Example: `monoscope search monoscope-run "inside a docstring" --min-f1 0.5 --density ..0.01`

    Parameters
    ----------
    run
        The run's folder.
    query
        Words, a text, a token, a concept's expression, a feature's number or a vector's file, as --by takes it.
    also
        Further texts on which the features fire (--by text).
    unlike
        A text on which they do not (--by text).
    density
        Share of tokens on which they fire, LOW..HIGH; either end may be left out, here and below.
    max
        Their largest value, LOW..HIGH.
    median
        The median of their values where they fire, LOW..HIGH.
    loss_effect
        How much the loss rises without them, in nats, LOW..HIGH.
    min_f1
        Least F1 of their labels.
    min_f1_low
        Least lower end of that F1's interval.
    kind
        Kind of label: token, context, or none for features without one.
    living
        Leave out features that never fire.
    embedder
        Folder of the model of sentences (--by meaning); by default one that is installed.
    limit
        How many features at most.
    json
        Print JSON for programs.
    """
    import json as js
    import math
    from dataclasses import replace

    from rich.console import Console

    from monoscope.app import terminal
    from monoscope.app.ranges import interval
    from monoscope.app.run import Run
    from monoscope.app.ui.payloads import number
    from monoscope.catalogue import sentences
    from monoscope.catalogue.searching import Filters

    ranges = {"density": density, "max": max, "median": median, "loss_effect": loss_effect}
    least = {"f1": min_f1, "f1_low": min_f1_low}
    bounds = {name: interval(name, text) for name, text in ranges.items()}
    bounds |= {name: (value, math.inf) for name, value in least.items() if value > 0}
    catalogue = Run(run).catalogue
    if embedder is not None:
        catalogue.at_hand = replace(catalogue.at_hand, embedder=str(embedder))
    if by == "meaning" and sentences.embedder(embedder) is None:
        told = "no model of sentences is at hand, so the words point to others by direction and firing (--embedder)"
        Console(stderr=True).print(told, style="dim")
    what = (query, *also) if also else query
    filters = Filters.of({**bounds, "kind": kind, "living": living})
    hits = catalogue.find(what, by, unlike=unlike, limit=limit, filters=filters)
    if json:
        rows = [
            {"id": h.id, "label": h.label, "label_f1": number(h.label_f1), "density": h.density, "score": h.score}
            for h in hits
        ]
        sys.stdout.write(js.dumps({"hits": rows}, ensure_ascii=False) + "\n")
    else:
        terminal.print_hits(hits, Console())
