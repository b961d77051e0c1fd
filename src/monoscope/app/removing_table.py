"""A removal on the terminal: what was forgotten and kept beside the controls, and what brought it back."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from monoscope.app.removing import Found
from monoscope.evaluate.intervals import Estimate


def show(found: Found, console: Console) -> None:
    """Three tables: the arms, the probes and the fine-tunings."""
    facts, probed = found.facts, found.probes
    console.print(
        f"Removed {len(found.features)} features of {facts['site']} for {facts['wanted']['concept']!r}, "
        f"method {facts['wanted']['method']}: {facts['exactness']}.",
        highlight=False, markup=False,
    )  # fmt: skip
    table = _table("", "concept", "change", "the rest", "change, %")
    table.add_row("untouched", f"{facts['plain']['concept']:.3f}", "–", f"{facts['plain']['rest']:.3f}", "–")
    for name, arm in found.arms.items():
        cells = (number(arm.forgotten, 3), cell(arm.gain, 3), number(arm.kept, 3), cell(arm.relative, 2, 100))
        table.add_row(name, *cells)
    console.print(table)
    console.print(
        f"Loss, nats a token, on {facts['tokens']['concept']:,} predictions of the concept or from it, and on "
        f"{facts['tokens']['rest']:,} others, of {facts['documents']} documents held out. In brackets: 95 % intervals.",
        style="dim",
    )
    if probed:
        told = ", ".join(f"{name} {cell(auroc, 3)}" for name, auroc in probed.items())
        console.print(f"A linear probe at {facts['probed']}, AUROC on held-out documents: {told}.", highlight=False)
    if found.relearned:
        console.print(_relearned(found))
        console.print("Fine-tuned on text of the concept, all weights; both models on the same.", style="dim")


def _relearned(found: Found) -> Table:
    table = _table("tokens", "untouched", "removed", "of the gain left, %")
    gain = found.arms["removed"].gain.value or 0.0
    at: dict[int, dict[str, float]] = {}
    for step in found.relearned:
        at.setdefault(step["tokens"], {})[step["model"]] = step["forgotten"]["value"]
    for tokens, loss in at.items():
        left = (loss["removed"] - loss["plain"]) / gain if gain else float("nan")
        table.add_row(f"{tokens:,}", f"{loss['plain']:.3f}", f"{loss['removed']:.3f}", f"{100 * left:.0f}")
    return table


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    return table


def cell(estimate: Estimate, digits: int, factor: float = 1.0) -> str:
    """``value [low, high]``."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    value, low, high = (f"{factor * v:z.{digits}f}" for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def number(estimate: Estimate, digits: int, factor: float = 1.0) -> str:
    """The value alone."""
    return "–" if estimate.value is None else f"{factor * estimate.value:z.{digits}f}"
