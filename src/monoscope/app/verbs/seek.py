"""Seeking a recipe that makes what a model says better."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from monoscope.app.verbs._listed import OBJECTIVE


def seek(
    run: Path,
    *,
    objective: Annotated[str, OBJECTIVE],
    save: Path | None = None,
    concept: str = "",
    begins: str = "first_after_blank_line & line_indent_0",
    budget: int = 300_000,
    samples: int = 256,
    candidates: int = 4,
    doses: str = "0.1,0.2,0.4",
    tokens: int = 48,
    temperature: float = 1.0,
    confirm: int = 256,
    seed: int = 0,
    kept: Path | None = None,
    json: bool = False,
) -> None:
    """Find a feature and a dose that make what the model says better in the eyes of a Python function.

    Example: `monoscope seek monoscope-run --objective python_parses --save parses.toml`

    Example: `monoscope seek monoscope-run --objective mine.py:politeness --concept in_docstring`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    save
        Write the winner's recipe here.
    concept
        Try the features that are labelled with this too.
    begins
        Where prompts begin: at tokens on which this expression over concepts holds.
    budget
        Tokens that the search generates at most; the confirmation comes on top.
    samples
        Plain continuations from which candidates are found.
    candidates
        How many each way of proposing may name.
    doses
        In multiples of the activation's length, with commas between.
    tokens
        New tokens per prompt.
    temperature
        Of sampling.
    confirm
        Prompts that the winner is confirmed on, which the search never saw.
    seed
        The same seed gives the same search.
    kept
        The file of everything generated, from which a stopped search goes on; by default in the run's folder.
    json
        Print JSON for programs.
    """
    import hashlib
    import json as js

    from rich.console import Console

    from monoscope.app import seeking
    from monoscope.app.ranges import numbers
    from monoscope.app.run import Run
    from monoscope.intervene import recipes

    sizes = tuple(numbers("doses", doses))
    wanted = seeking.Wanted(
        objective, concept, begins, budget, samples, candidates, sizes, tokens, temperature, confirm, seed=seed
    )
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()[:16]
    winner, facts, tried = seeking.seek(Run(run), wanted, kept or run / "seeking" / f"{name}.jsonl")
    if save is not None:
        recipes.save(winner, save)
    if json:
        sys.stdout.write(js.dumps(seeking.to_json(facts, tried), ensure_ascii=False) + "\n")
    else:
        seeking.show(facts, tried, Console())
