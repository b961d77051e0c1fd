"""Testing a run's explanations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from monoscope.app.asking import Asking
from monoscope.app.verbs._listed import SCORER

NO_ONE = Asking()


def score(
    run: Path = Path("monoscope-run"),
    *,
    scorer: Annotated[str, SCORER] = "all",
    explainer: str = "concepts",
    features: str | None = None,
    best: int | None = None,
    sample: int | None = None,
    asking: Annotated[Asking, Parameter(name="*")] = NO_ONE,
    embedding: str | None = None,
    above: float = 0.0,
    paper: bool = False,
    controls: Literal["basic", "full"] = "basic",
    seed: int = 0,
    json: bool = False,
) -> None:
    """Score explanations on text that no explainer saw, beside controls; scores that exist are not asked for again.

    The judge runs each label's own concept, offline; with --url and --model, or --local, it is a language model.

    Examples: `monoscope score monoscope-run --scorer detection,fuzzing --sample 100`;
    `monoscope score monoscope-run --explainer language_model:NAME --url http://127.0.0.1:8000/v1 --model NAME`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    scorer
        Scorers, separated by commas.
    explainer
        Whose explanations: `concepts` for the tested labels; as `monoscope explain` names them.
    features
        Feature numbers, separated by commas.
    best
        So many features with the best label F1, instead of a sample.
    sample
        So many features drawn by the seed (200).
    embedding
        A sentence-embedding model, a folder or a Hugging Face id, for the scorers `embedding` and `intruder`.
    above
        A feature counts as firing above this share of its largest value.
    paper
        Towards Monosemanticity's own test: features beside neurons beside the model with shuffled weights, as
        distributions; writes `paper.json` and, with matplotlib, `paper.svg` into the run's folder.
    controls
        full: catalogue and label the frozen-decoder dictionary first, so that it stands beside the others.
    seed
        Fixes features, passages and resamples.
    json
        Print JSON for programs.
    """
    import json as js

    from rich.console import Console

    from monoscope.app import control_catalogues, judging, scoring, scoring_table
    from monoscope.app import paper as papers
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError

    if not 0 <= above < 1:
        raise MonoscopeError(f"--above {above} is no share of a maximum", fix="give a number from 0 to less than 1")
    chosen = scoring.Chosen(_numbers(features), best, sample)
    opened = Run(run)
    if controls == "full":
        control_catalogues.frozen_decoder(opened)
    with judging.judges(opened, asking, embedding) as judges:
        if paper:
            told = papers.evaluate(opened, explainer, judges[""], papers.SAMPLE if sample is None else sample, seed)
        else:
            found = scoring.score(opened, scorer.split(","), explainer, chosen, judges, seed, above)
    if json:
        sys.stdout.write(js.dumps((told if paper else found).to_json(), ensure_ascii=False, allow_nan=False) + "\n")
    elif paper:
        scoring_table.print_paper(told, Console())
    else:
        scoring_table.print_scored(found, Console())


def _numbers(features: str | None) -> tuple[int, ...]:
    from monoscope.errors import MonoscopeError

    parts = [part.strip() for part in (features or "").split(",") if part.strip()]
    wrong = next((part for part in parts if not part.isdigit()), None)
    if wrong is not None:
        raise MonoscopeError(f"{wrong!r} is no feature's number", fix="write for example --features 12,345")
    return tuple(int(part) for part in parts)
