"""Fitting rules from labelled texts."""

from __future__ import annotations

import sys
from pathlib import Path


def fit(
    run: Path,
    *,
    examples: Path,
    fpr: float = 0.01,
    out: Path = Path("rules.toml"),
    name: str = "detected",
    elsewhere: Path | None = None,
    model: str = "",
    site: str = "",
    seed: int = 0,
    json: bool = False,
) -> None:
    """Fit rules that find texts like the labelled ones: over features, and of a dense probe, at a known rate of alarms.

    Writes the rules, which `ms.watch` opens, with the probe's vector beside them, and a report with the same name and
    the ending json.

    Example: `monoscope watch fit monoscope-run --examples labelled.jsonl --fpr 0.01 --out rules.toml`

    Parameters
    ----------
    run
        The run's folder; or a dictionary, with --model and --site where it does not name them.
    examples
        A file of lines {"text": …, "label": true or false}; where known "spans": [[first, end], …] in characters, and
        "document": texts of one document stay on one side of every split.
    fpr
        The rate of false alarms that the thresholds keep, with 95 % confidence; by text.
    out
        The rules' file.
    name
        What the rules detect.
    elsewhere
        More examples, of another kind of text, that the thresholds are tested on too.
    model
        The model of a dictionary.
    site
        Where a dictionary reads.
    seed
        Of the split and of all draws.
    json
        Print the report as JSON.
    """
    import json as js

    from rich.console import Console

    from monoscope import folder, progress
    from monoscope.app import detecting
    from monoscope.errors import MonoscopeError
    from monoscope.studies.detection import examples as labelled
    from monoscope.studies.detection import fitting, telling, thresholds

    if out.suffix != ".toml":
        raise MonoscopeError(f"{out} is no name for rules", fix="let it end in .toml")
    parts = labelled.split(labelled.load(examples), seed)
    further = None if elsewhere is None else labelled.of(labelled.load(elsewhere))
    if further is not None:
        labelled.check(further, str(elsewhere))
    thresholds.promise(fpr, int((~parts[labelled.CALIBRATE].labels).sum()))
    subject = detecting.subject(run, model, site)
    with progress.bar("fitting detectors", None) as report:
        fitted = fitting.fit(subject, parts, fpr, seed=seed, report=report)
        judged = {"test": fitted.judge(parts[labelled.TEST], seed, report)}
        if further is not None:
            judged["elsewhere"] = fitted.judge(further, seed, report)
    found = telling.report(fitted, parts | ({} if further is None else {"elsewhere": further}), judged)
    fitted.save(out, name, {"fpr": fpr, "confidence": thresholds.CONFIDENCE, "seed": seed})
    folder.write_json(out.with_suffix(".json"), found)
    if json:
        sys.stdout.write(js.dumps(found, ensure_ascii=False) + "\n")
    else:
        detecting.show(found, Console())
