"""Fitting detectors from the command line: what is watched, and the table of what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monoscope.app import plan
from monoscope.app.given import model_of
from monoscope.app.run import Run
from monoscope.catalogue.schema import NAME as CATALOGUE
from monoscope.dictionary import io
from monoscope.errors import MonoscopeError
from monoscope.studies.detection import Subject, dense, features
from monoscope.types import Site
from monoscope.visible import safe

WORTH = 0.5  # F1 from which on a label explains an alarm


def subject(path: Path, model: str = "", site: str = "") -> Subject:
    """What is watched: a run, or a dictionary with the model and the site that it, or the user, names.

    Raises:
        MonoscopeError: there is neither, or nothing says which model or site.
    """
    if (path / plan.NAME).is_file():
        run = Run(path)
        if model or site:
            raise MonoscopeError("a run knows its model and its site", fix="leave out --model and --site")
        labelled = labels(run) if (path / CATALOGUE).is_file() else (lambda feature: None)
        return Subject(run.lm, run.plan.site, str(path / "dictionary"), labelled)
    found = io.load(path)
    named, site = model or found.provenance.get("model"), site or str(found.provenance.get("site") or "")
    if not named or not site:
        raise MonoscopeError(f"{path} does not say which model it reads, and where", fix="give --model and --site")
    lm = model_of(found, model)
    plan.refuse_stranger(found, lm, str(Site.parse(site)))
    return Subject(lm, site, str(path))


def labels(run: Run) -> Any:
    """What the run's catalogue says of a feature, where its label holds."""

    def label(feature: int) -> str | None:
        found = run.catalogue[feature].label
        return found.words if found is not None and found.f1 >= WORTH else None

    return label


def show(report: Mapping[str, Any], console: Console) -> None:
    """The table, what the rule is made of, and what the numbers say."""
    promise, places = report["promise"], [p for p in ("test", "elsewhere") if p in report["detectors"][dense.DENSE]]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for place in places:
        for head in ("AUC", "false alarms", "caught"):
            table.add_column(head if place == "test" else f"{head},\nelsewhere", justify="right")
    for name, found in report["detectors"].items():
        cells = []
        for place in places:
            cells += [_cell(found[place]["auc"]), *(_cell(found[place][m], True) for m in ("fpr", "recall"))]
        table.add_row(name, *cells)
    console.print(table)
    how = report["detectors"].get(features.NAME, {}).get("how")
    if how:
        console.print(Text("Rule over features" + (f": {how['join']} of" if len(how["parts"]) > 1 else "")))
        for part in how["parts"]:
            said = safe(part["label"]) if part["label"] else "no label that holds"
            console.print(Text(f"  feature {part['feature']}: {said} ({part['counted']} above {part['above']:.3g})"))
    told = (
        f"At most {promise['fpr']:.3g} of negatives are false alarms, with 95 % confidence: {promise['allowed']} of "
        f"the {promise['negatives']} that set thresholds. So many can promise {promise['smallest']:.2g} at the least."
    )
    console.print(Text(told, style="dim"))
    for place in places:
        for line in report["lesson"][place]:
            console.print(Text(line if place == "test" else f"Elsewhere: {line}"))


def _cell(estimate: Mapping[str, float | None], percent: bool = False) -> Text:
    if estimate["value"] is None:
        return Text("–")
    value, low, high = (float(estimate[part] or 0) for part in ("value", "low", "high"))
    told = [f"{x:.1%}" if percent else f"{x:.3f}" for x in (value, low, high)]
    return Text.assemble(told[0], (f" {told[1].rstrip('%')}–{told[2]}", "dim"))
