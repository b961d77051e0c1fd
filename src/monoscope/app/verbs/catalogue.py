"""Cataloguing a run's dictionary, or one trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from monoscope.app.verbs._said import say


def catalogue(
    run: Path,
    *,
    dictionary: Path | None = None,
    model: str | None = None,
    site: str | None = None,
    target: str | None = None,
    text: str | None = None,
    tokens: int | None = None,
    seed: int = 0,
    html: Path | None = None,
    neuronpedia: Path | None = None,
    explanations: Annotated[Path | None, Parameter(name="--import")] = None,
) -> None:
    """Build the catalogue of a dictionary: what every feature fires on, promotes, and does to the loss; or share it.

    Example: `monoscope catalogue run --dictionary my-sae --model gpt2 --text files:notes`

    Example: `monoscope catalogue run --html site`

    With `--html`, `--neuronpedia` or `--import` a finished catalogue is opened, and nothing is built.

    Parameters
    ----------
    run
        The run's folder; a new one when a dictionary is given.
    dictionary
        A dictionary trained elsewhere, in any supported format. A threshold that its file left void is set on the text.
    model
        Its model; by default the one that the dictionary names.
    site
        Its site; by default the one that the dictionary names.
    target
        Where it writes, if it is a transcoder; by default what the dictionary names.
    text
        What the model reads.
    tokens
        Tokens to catalogue, with a new run.
    seed
        Fixes splits and the choice of examples.
    html
        Write the catalogue's pages as files into this folder, which any web host can serve.
    neuronpedia
        Write the catalogue into this folder as Neuronpedia imports it.
    explanations
        Read the explanations of a Neuronpedia export of the same dictionary.
    """
    if html is not None or neuronpedia is not None or explanations is not None:
        share(run, html, neuronpedia, explanations)
    else:
        make(run, dictionary, model, site, target, text, tokens, seed)


def share(run: Path, html: Path | None, neuronpedia: Path | None, explanations: Path | None) -> None:
    """Read others' explanations onto a finished catalogue, then write it for others."""
    from monoscope.app.static_site import export as static_site
    from monoscope.catalogue.neuronpedia import reading, writing
    from monoscope.catalogue.store import Catalogue

    with Catalogue(run) as opened:
        if explanations is not None:
            say(f"{reading.import_explanations(opened, explanations):,} explanations read from {explanations}")
        if neuronpedia is not None:
            written = writing.export(opened, neuronpedia)
            say(f"{len(opened):,} features in {written}, {megabytes(neuronpedia)} MB")
        if html is not None:
            static_site.export(opened, html)
            size = megabytes(html)
            say(f"{len(opened):,} features in {html}, {size} MB; to look at it: python -m http.server -d {html}")


def megabytes(path: Path) -> str:
    """The size of a folder's files."""
    return f"{sum(p.stat().st_size for p in path.rglob('*') if p.is_file()) / 1e6:,.1f}"


def make(
    run: Path,
    dictionary: Path | None,
    model: str | None,
    site: str | None,
    target: str | None,
    text: str | None,
    tokens: int | None,
    seed: int,
) -> None:
    """Build the catalogue; for a dictionary trained elsewhere, in a new run."""
    from monoscope.app import plan, stages
    from monoscope.app.given import model_of
    from monoscope.app.run import Run
    from monoscope.dictionary import io

    given = None if dictionary is None else io.load(dictionary)
    if given is not None:
        plan.resolve(
            model_of(given, model), site=site, target=target, text=text, tokens=tokens, features=None, k=None,
            architecture="", seed=seed, dictionary=given, origin=str(dictionary),
        ).settle(run)  # fmt: skip
    opened = Run(run)
    stages.text(opened)
    if given is not None:
        stages.adopt(opened, given, say)
    made = stages.catalogue(opened, opened.dictionary)
    say(f"{len(made):,} features over {made.facts['n_tokens']:,} tokens in {run}; see: monoscope ui {run}")
