"""Cataloguing a run's dictionary, or one trained elsewhere."""

from __future__ import annotations

from pathlib import Path


def catalogue(
    run: Path,
    *,
    dictionary: Path | None = None,
    model: str | None = None,
    site: str | None = None,
    text: str | None = None,
    tokens: int | None = None,
    seed: int = 0,
) -> None:
    """Build the catalogue of a dictionary: what every feature fires on, promotes, and does to the loss.

    Example: `monoscope catalogue run --dictionary my-sae --model gpt2 --text files:notes`

    Parameters
    ----------
    run
        The run's folder; a new one when a dictionary is given.
    dictionary
        A dictionary trained elsewhere, in any supported format.
    model
        Its model; by default the one that the dictionary names.
    site
        Its site; by default the one that the dictionary names.
    text
        What the model reads.
    tokens
        Tokens to catalogue, with a new run.
    seed
        Fixes splits and the choice of examples.
    """
    from rich.console import Console

    from monoscope.app import plan, stages
    from monoscope.app.run import Run
    from monoscope.dictionary import io
    from monoscope.errors import MonoscopeError
    from monoscope.models import load_model

    if dictionary is not None:
        given = io.load(dictionary)
        name = model or given.provenance.get("model")
        if name is None:
            raise MonoscopeError("the dictionary does not name its model", fix="pass --model")
        plan.resolve(
            load_model(name), site=site, text=text, tokens=tokens, features=None, k=None, architecture="", seed=seed,
            dictionary=given, origin=str(dictionary),
        ).settle(run)  # fmt: skip
        opened = Run(run)
        stages.adopt(opened, given)
    opened = Run(run)
    stages.text(opened)
    made = stages.catalogue(opened, opened.dictionary)
    Console().print(f"{len(made):,} features over {made.facts['n_tokens']:,} tokens in {run}; see: monoscope ui {run}")
