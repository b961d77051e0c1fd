"""From text to a readable, tested catalogue of features, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from rich.console import Console

from monoscope.app.verbs import _listed
from monoscope.app.verbs._checked import Port
from monoscope.train.presets.default import PRESET

OUT = Path("monoscope-run")


def quickstart(
    *,
    model: str | None = None,
    site: str | None = None,
    target: str | None = None,
    text: str | None = None,
    dictionary: Path | None = None,
    out: Path = OUT,
    tokens: int | None = None,
    features: int | None = None,
    k: int | None = None,
    architecture: Annotated[str, _listed.ARCHITECTURE] = PRESET.architecture,
    minutes: float | None = None,
    controls: str = "basic",
    seed: int = 0,
    port: Port = 8377,
    serve: bool = True,
    browser: bool = True,
) -> None:
    """Learn, catalogue and label the features of a model, then show them.

    Example: `monoscope quickstart --minutes 3 --no-serve`

    Parameters
    ----------
    model
        A packaged model (reference-a, -b, -c), a Hugging Face id or a folder; by default the one that the dictionary
        names, or reference-a.
    site
        Where its mind is read, such as mlp_act.0 or resid_post.5.
    target
        Another site, whose activations are to be predicted from those: the dictionary is then a transcoder.
    text
        What it reads: held_out, python_source, files:PATH, huggingface:ID, or a path.
    dictionary
        A dictionary trained elsewhere, catalogued instead of training one. A threshold that its file left void is set.
    out
        The run's folder. Run again, the command goes on or reuses what is there.
    tokens
        Training tokens; half as many each (of a small run, more) are kept for labelling and for testing.
    features
        Features to learn; by default 4,096, fewer where there are under a million tokens.
    k
        Active features per token, on average.
    minutes
        About how long it may take; fixes the number of tokens.
    controls
        basic, or full, which adds the random-weights model.
    seed
        The same seed gives the same numbers.
    port
        Where the pages are served, on this machine only.
    serve
        Serve the pages when done.
    browser
        Open them in a browser.
    """
    from monoscope.app.quickstart import quickstart as run_all
    from monoscope.app.terminal import print_summary
    from monoscope.app.verbs.ui import show

    run = run_all(
        out, model=model, site=site, target=target, text=text, dictionary=dictionary, tokens=tokens, features=features,
        k=k, architecture=architecture, minutes=minutes, controls=controls, seed=seed,
    )  # fmt: skip
    console = Console()
    print_summary(run.catalogue, console)
    seconds = sum(run.timings.values())
    console.print(
        f"\n  {out / 'report.html'} holds all of this in one file; the steps took {seconds / 60:.1f} minutes."
    )
    if serve:
        show(run, port=port, browser=browser and sys.stdout.isatty())
