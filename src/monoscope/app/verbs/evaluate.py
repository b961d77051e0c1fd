"""Judging a run's dictionary beside its controls, or several dictionaries beside each other."""

from __future__ import annotations

import json as js
import sys
from pathlib import Path


def evaluate(
    *runs: Path,
    against: str | None = None,
    plots: Path | None = None,
    saebench: Path | None = None,
    concepts: bool = False,
    letters: bool = False,
    json: bool = False,
) -> None:
    """Evaluate a run's dictionary on held-out text beside its controls; or compare several dictionaries in one pass.

    Examples: `monoscope evaluate monoscope-run --json`; `monoscope evaluate A B C --against controls --plots figures`

    Parameters
    ----------
    runs
        One run's folder; or several runs or dictionaries of the same model and site. The first run's test split judges
        them all, less what another was trained on. RUN@8 is what a TopK dictionary does with its 8 best features.
    against
        controls: judge the first run's controls beside the dictionaries, those that were trained and those that need
        no training.
    plots
        A folder for the L0–FVU and L0–loss-recovered frontiers, as SVG and PNG; needs matplotlib (the extra `plots`).
    saebench
        A file for the metrics in the layout of SAEBench's core results; of several dictionaries, one file each.
    concepts
        Of one catalogued run: coverage and reconstruction of Python's grammar, and sparse probes beside a dense one.
    letters
        Of one run: how often other features stand in for those that tell a word's first letter (absorption).
    json
        Print JSON for programs.
    """
    from rich.console import Console

    from monoscope.app import comparison, comparison_table, concept_scores, letter_scores, stages, terminal
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError
    from monoscope.evaluate.right_l0 import Verdict

    chosen = runs or (Path("monoscope-run"),)
    if (concepts or letters) and (concepts == letters or len(chosen) > 1 or against or plots or saebench):
        raise MonoscopeError(
            "--concepts and --letters each look at one run, and nothing else at the same time",
            fix="one after the other: monoscope evaluate RUN --concepts",
        )
    if concepts:
        scores = concept_scores.score(Run(chosen[0]))
        if json:
            sys.stdout.write(js.dumps(scores.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
        else:
            concept_scores.print_scores(scores, Console())
        return
    if letters:
        spelt = letter_scores.score(Run(chosen[0]))
        if json:
            sys.stdout.write(js.dumps(letter_scores.to_json(spelt), ensure_ascii=False, allow_nan=False) + "\n")
        else:
            letter_scores.print_scores(spelt, Console())
        return
    whole = len(chosen) == 1 and comparison.viewed(chosen[0])[1] is None
    if whole and against is None and plots is None and saebench is None:
        opened = Run(chosen[0])
        stages.text(opened)
        stages.evaluation(opened, stages.trained(opened))
        if json:
            sys.stdout.write(js.dumps(opened.evaluation, ensure_ascii=False) + "\n")
        else:
            found, console = opened.evaluation or {}, Console()
            terminal.print_health(found, console)
            if said := found.get("right_l0"):  # runs of older versions have none
                verdict = Verdict(said["says"], tuple(said["because"]))
                comparison_table.print_verdicts({"this dictionary": verdict}, console)
        return

    comparison.refuse_unwritable(plots, saebench)
    compared = comparison.compare(chosen, against)
    if json:
        sys.stdout.write(js.dumps(compared.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
    else:
        comparison_table.print_comparison(compared, Console())
    said = Console(stderr=True)
    for line in comparison.write(compared, plots, saebench):
        said.print(line, highlight=False, markup=False)
