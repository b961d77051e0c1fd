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
    html: Path | None = None,
) -> None:
    """Build the catalogue of a dictionary: what every feature fires on, promotes, and does to the loss; or share it.

    Example: `monoscope catalogue run --dictionary my-sae --model gpt2 --text files:notes`

    Example: `monoscope catalogue run --html site`

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
    html
        Write the finished catalogue's pages as files into this folder, which any web host can serve.
    """
    if html is not None:
        share(run, html)
    else:
        make(run, dictionary, model, site, text, tokens, seed)


def share(run: Path, html: Path) -> None:
    """Write a finished catalogue for others."""
    from rich.console import Console

    from monoscope.app.static_site.export import export
    from monoscope.catalogue.store import Catalogue

    with Catalogue(run) as opened:
        export(opened, html)
    size = sum(path.stat().st_size for path in html.rglob("*") if path.is_file())
    Console().print(
        f"{len(opened):,} features in {html}, {size / 1e6:,.1f} MB; to look at it: python -m http.server -d {html}",
        markup=False,
    )


def make(
    run: Path,
    dictionary: Path | None,
    model: str | None,
    site: str | None,
    text: str | None,
    tokens: int | None,
    seed: int,
) -> None:
    """Build the catalogue; for a dictionary trained elsewhere, in a new run."""
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
