"""Scores in the terminal: every value beside its controls."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monoscope.app.paper import Distribution, Paper
from monoscope.app.scoring import Scored
from monoscope.evaluate.intervals import Estimate


def cell(estimate: Estimate | None, style: str = "") -> Text:
    """A value and its interval."""
    if estimate is None or estimate.value is None:
        return Text("–", style="dim")
    out = Text(f"{estimate.value:.3f}", style=style)
    if estimate.low is not None and estimate.high is not None and estimate.high > estimate.low:
        out.append(f" {estimate.low:.3f}–{estimate.high:.3f}", style="dim")
    return out


def print_scored(found: Scored, console: Console) -> None:
    """A row for each scorer and, under it, one for each control."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("scorer", no_wrap=True)
    table.add_column("mean over features, 95 %", no_wrap=True)
    for heading in ("features", "answers", "no answer"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        counts = (f"{row.features:,}", f"{row.answers:,}", f"{row.unanswered:,}")
        table.add_row(Text(row.scorer, style="bold cyan"), cell(row.own, "bold"), *counts)
        for name, estimate in row.controls.items():
            table.add_row(Text(f"  {name.replace('_', ' ')}", style="dim"), cell(estimate))
        table.add_row(Text("  chance", style="dim"), f"{row.chance:.3f}", end_section=True)
    console.print(table)
    for note in found.notes:
        console.print(Text(note, style="dim"))


SHOWN = {
    "single_token": "single token", "not_single_token": "other", "label_token": "token label",
    "label_context": "context label", "without_words": "no words",
}  # fmt: skip
RIVALS = {"importance": "weighted", "shuffled": "shuffled", "unigram": "unigram"}


def print_paper(found: Paper, console: Console) -> None:
    """Every subject's distribution, by group, with the means of the importance-weighted variant and of the controls."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")  # fits into 80 columns
    table.add_column("Spearman", no_wrap=True)
    for heading in ("n", "quartiles", "mean, 95 %", *RIVALS.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for subject, groups in found.found.items():
        table.add_row(Text(subject.replace("_", " "), style="bold cyan"))
        for group, values in groups.items():
            if "value" in values:
                table.add_row(f"  {SHOWN.get(group, group)}", *_distribution(values, "bold" if group == "all" else ""))
        table.add_section()
    console.print(table)


def _distribution(values: Mapping[str, Distribution], style: str) -> list[Text]:
    """A group's cells: how many, quartiles, mean, and the means of its rivals."""
    own = values["value"]
    low, middle, high = (f"{q:.2f}" for q in own.quartiles)
    quartiles = Text(f"{low} ", style="dim").append(middle, style=style).append(f" {high}")
    mean = Text(f"{own.mean.value:.2f}", style=style)
    if own.mean.low is not None and own.mean.high is not None:
        mean.append(f" ±{(own.mean.high - own.mean.low) / 2:.2f}", style="dim")
    return [Text(f"{own.n:,}"), quartiles, mean, *(_mean(values.get(name)) for name in RIVALS)]


def _mean(distribution: Distribution | None) -> Text:
    return Text("–", style="dim") if distribution is None else Text(f"{distribution.mean.value:.2f}")
