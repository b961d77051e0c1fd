"""A comparison in the terminal: what each dictionary scores, and which differences from the first are real."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monoscope.app.comparison import Comparison, within_noise
from monoscope.app.ui import payloads
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.right_l0 import Verdict
from monoscope.visible import plain

Column = tuple[str, str, int]  # metric, heading, digits
SCORES: tuple[Column, ...] = (
    ("l0", "L0", 1),
    ("fvu", "FVU", 3),
    ("loss_recovered_mean", "loss\nrecovered", 3),
    ("kl", "KL", 3),
)
ERRORS: tuple[Column, ...] = (
    ("kl_over_same_norm", "KL over\nrandom error", 2),
    ("error_linear", "linear part\nof the error", 2),
    ("norm_ratio", "length\nout / in", 3),
    ("decoder_nearest_cosine", "nearest\ncosine", 3),
)
NOISE = "≈"
NAMES = 19  # columns for names: with four differences beside it, a line has 80


def print_comparison(found: Comparison, console: Console) -> None:
    """Scores, differences from the first, errors and decoders, then the notes."""
    first, facts = found.names[0], found.evaluation.facts
    where = payloads.where(facts)
    judged = f"{facts['n_documents']:,} documents"
    if 0 < facts["n_loss_tokens"] < facts["n_tokens"]:
        more = ", the random model's on more" if "random_model" in found.evaluation.controls else ""
        judged += f"; loss and KL on {facts['n_loss_tokens']:,} of the tokens{more}"
    console.print()
    console.print(
        Text(f"{where} of {plain(payloads.short_name(facts['model']))}", style="bold").append(
            f"  on {facts['n_tokens']:,} held-out tokens; ± 95 % intervals",
            style="dim",
        )
    )
    console.print(Text(judged, style="dim"))
    everyone = found.metrics()
    _print("", everyone, SCORES, console, first)
    if found.evaluation.differences:
        _print(f"{plain(first)} less", found.evaluation.differences, SCORES, console, None)
        console.print(Text(f"{NOISE} within noise: the paired interval contains 0", style="dim"))
    _print("", everyone, ERRORS, console, first)
    print_verdicts(found.right_l0(), console)
    if found.stability is not None:
        mean, random = (f"{e.value:.3f}" for e in (found.stability.mean, found.stability.random))
        low, high = found.stability.mean.low, found.stability.mean.high
        line = (
            Text("the same features?  PW-MCC ").append(mean, style="bold").append(f" {low:.3f}–{high:.3f}", style="dim")
        )
        console.print(line.append(f", random dictionaries {random}; 1 is the same dictionary", style="dim"))
    for note in found.notes:
        console.print(Text("note  ", style="yellow").append(plain(note), style=""))


def print_verdicts(verdicts: Mapping[str, Verdict], console: Console) -> None:
    """Whether each L0 looks right, and how one can tell."""
    for name, verdict in verdicts.items():
        line = Text(f"L0 of {plain(name)}  ", style="dim").append(verdict.says, style="bold")
        console.print(line.append(": " + "; ".join(verdict.because), style="dim"))


def _print(
    title: str,
    rows: Mapping[str, Mapping[str, Estimate]],
    columns: tuple[Column, ...],
    console: Console,
    own: str | None,
) -> None:
    shown = [c for c in columns if any(c[0] in m and m[c[0]].value is not None for m in rows.values())]
    if not shown:
        return
    table = frame(title, [heading for _, heading, _ in shown])
    for name, metrics in rows.items():
        style = "bold" if name == own else ""
        words = Text(folded(plain(payloads.CONTROLS.get(name, name))), style=f"{style} cyan" if style else "")
        table.add_row(words, *(cell(metrics.get(m), digits, style, own is None) for m, _, digits in shown))
    console.print(Padding(table, (1, 0, 0, 0)))


def frame(title: str, headings: Sequence[str]) -> Table:
    """An empty table: names on the left, numbers right-aligned under their headings."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(folded(title), no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def folded(name: str, width: int = NAMES) -> str:
    """A name in lines of ``width``, broken after its commas, else after ``=``, ``_`` and the like, else anywhere."""
    lines = [""]
    for part in re.findall(r"[^,]+,?", name):
        for piece in [part] if len(part) <= width else re.findall(rf"[^=_\-./ ]{{0,{width - 1}}}[=_\-./ ]*", part):
            if len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines if line)


def cell(estimate: Estimate | None, digits: int, style: str, difference: bool) -> Text:
    """A number with half its interval; of a difference its sign, and whether it is within noise."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return Text("–", style="dim")
    sign = "+" if difference else "z"  # of a difference, even one that rounds to nothing, the sign is told
    out = Text(f"{estimate.value:{sign}.{digits}f}", style=style)
    out.append(f" ±{(estimate.high - estimate.low) / 2:.{digits}f}", style="dim")
    if difference:
        out.append(NOISE if within_noise(estimate) else " ", style="yellow")
    return out
