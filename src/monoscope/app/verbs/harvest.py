"""Harvesting activations into shards."""

from __future__ import annotations

from pathlib import Path


def harvest(
    model: str,
    *,
    site: str,
    out: Path,
    text: str | None = None,
    tokens: int = 2_000_000,
    stored: str = "bf16",
    seed: int = 0,
) -> None:
    """Run a model over text and keep the activations of one or several sites, row-aligned.

    Example: `monoscope harvest reference-a --site mlp_act.0 --tokens 500000 --out acts`

    Parameters
    ----------
    model
        A packaged model, a Hugging Face id or a folder.
    site
        A site, or several with commas between them.
    out
        The folder for text and shards. An interrupted harvest goes on.
    text
        What is read: held_out, python_source, files:PATH, huggingface:ID, or a path.
    tokens
        Tokens to harvest; half as many each (of a small harvest, more) are kept apart for labelling and testing.
    stored
        bf16, or int8 with one scale per row.
    seed
        Fixes splits and shuffling.
    """
    from rich.console import Console

    from monoscope.app.harvested import harvest as run
    from monoscope.models import load_model

    made = run(load_model(model), site.split(","), text, tokens, out, seed=seed, stored=stored)
    Console().print(f"{sum(made.counts):,} rows of {', '.join(made.widths)} in {out}")
