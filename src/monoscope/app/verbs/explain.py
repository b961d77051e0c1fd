"""Putting a run's features into words: tested concepts, or an explainer of the folder."""

from __future__ import annotations

import json as js
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from monoscope.app.asking import Asking
from monoscope.app.explaining import Choice
from monoscope.app.verbs._listed import EXPLAINER

FIELDS = ("kind", "concept", "threshold", "precision", "recall", "f1", "f1_low", "f1_high", "baseline_f1", "support")
CONCEPTS = "concepts"
ALL, NO_ONE = Choice(), Asking()


def explain(
    run: Path = Path("monoscope-run"),
    *,
    explainer: Annotated[str, EXPLAINER] = CONCEPTS,
    choice: Annotated[Choice, Parameter(name="*")] = ALL,
    promotes: bool = False,
    asking: Annotated[Asking, Parameter(name="*")] = NO_ONE,
    again: int | None = None,
    redo: bool = False,
    estimate: bool = False,
    json: bool = False,
) -> None:
    """Put features into words. By default, label them with the concepts that describe them best, tested on other text.

    Examples: `monoscope explain monoscope-run --json`;
    `monoscope explain monoscope-run --explainer language_model --url http://127.0.0.1:8000/v1 --model NAME --best 100`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    promotes
        Ask a second question of each feature: what it makes the model say.
    again
        How often a useless answer is asked for again (1).
    redo
        Explain anew what this explainer has explained before.
    estimate
        Say what it would take; send nothing.
    json
        Print JSON for programs.
    """
    from rich.console import Console

    from monoscope.app import explaining, stages, terminal
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError

    opened = Run(run)
    if explainer == CONCEPTS:
        if choice != ALL or asking.given() or promotes or redo or estimate or again is not None:
            raise MonoscopeError(
                "without --explainer all features are labelled with concepts: no other flag but --json has a meaning",
                fix="name an explainer, such as --explainer language_model, or leave the flags out",
            )
        stages.labels(opened, opened.catalogue)
        if json:
            _print_json(_labels(opened.catalogue) | {"explanations": explaining.to_json(opened.catalogue)})
        else:
            terminal.print_summary(opened.catalogue, Console())
        return
    with explaining.job(opened, explainer, choice, asking, promotes, again, redo) as job:
        if estimate:
            told = job.estimate()
            _print_json({"estimate": asdict(told)}) if json else Console().print(
                explaining.in_words(told), markup=False
            )
            return
        outcome = job.run()
    if json:
        _print_json(_labels(opened.catalogue) | job.to_json(outcome))
    else:
        explaining.print_outcome(job, outcome, Console())
    job.complain(outcome)


def _labels(catalogue: Any) -> dict[str, Any]:
    """The tested labels of all features."""
    from monoscope.app.ui.payloads import number

    found = []
    for record in catalogue:
        if record.label is not None:
            label = asdict(record.label)
            values = {k: number(v) if isinstance(v := label[k], float) else v for k in FIELDS}
            found.append({"id": record.id, **values})
    return {"features": found}


def _print_json(told: dict[str, Any]) -> None:
    sys.stdout.write(js.dumps(told, ensure_ascii=False) + "\n")
