"""The benchmarks' tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monoscope.app.bench import machine, speed
from monoscope.app.bench.contenders import is_ours

LEDS = {
    "saelens:standard", "saelens:gated", "dictionary_learning:standard", "dictionary_learning:standard_april",
    "dictionary_learning:gated", "dictionary_learning:p_anneal",
}  # fmt: skip
LED = (
    "A penalty without a wanted L0 of its own (SAELens' standard and gated; dictionary_learning's, but for its "
    "JumpReLU) is led to it: after each step, off the clock, its coefficient is multiplied by what "
    "the L0 of 256 rows asks."
)


def print_header(facts: Mapping[str, Any], console: Console) -> None:
    """On what was measured."""
    for line in machine.lines(dict(facts)):
        console.print(Text(line, style="dim"))


def print_speed(found: Mapping[str, Any], setting: Mapping[str, Any], console: Console) -> None:
    """A size: a table for each of our architectures."""
    limit = found["limit"]
    axis, size = limit["blocking"]
    console.print()
    line = Text(found["size"], style="bold cyan").append(
        f"  k {setting['k']}, batches of {setting['batch']:,}, {setting['rounds']} rounds, rows: {found['rows']}"
        + (f", {setting['dead']:.0%} of the features dead" if setting["dead"] else ""),
        style="dim",
    )
    console.print(line)
    if limit["rows_per_second"]:
        console.print(
            Text(
                f"the encoder's product alone, in {limit['dtype']}, {size:,} {axis} at a time: "
                f"{limit['rows_per_second']:,.0f} rows/s",
                style="dim",
            )
        )
    for kind, rows in speed.compared(dict(found)):
        _print_kind(kind, rows, found["contenders"], console)
    if LEDS & set(found["contenders"]):
        console.print(Text(LED, style="dim"))


def _print_kind(
    kind: str, rows: Mapping[str, Mapping[str, Any] | None], contenders: Mapping[str, Any], console: Console
) -> None:
    own = rows[f"monoscope:{kind}"] or {}
    late = list(own) != ["all"]
    table = frame(kind, [*(["when", "L0"] if late else [""]), "rows/s", "range", "faster", "limit"])
    for name, one in rows.items():
        style, way = "bold" if is_ours(name) else "", _way(contenders[name])
        library, _, theirs = name.partition(":")
        below = ", ".join(part for part in ("" if theirs == kind else theirs, way) if part)
        if one is None:
            table.add_row(Text(library, style=style), Text("failed", style="yellow"))
            continue
        for i, (window, seen) in enumerate(one.items()):
            table.add_row(
                Text(below if i else library, style="dim" if i else style),
                *([window, f"{seen['l0']:.0f}"] if late else [Text(way, style="dim")]),
                Text(f"{seen['rows_per_second']:,.0f}", style=style),
                Text(f"{seen['low']:,.0f}–{seen['high']:,.0f}", style="dim"),
                _times(None if is_ours(name) else speed.faster(dict(own), dict(one), window)),
                f"{seen['of_limit']:.0%}" if "of_limit" in seen else "",
            )
    console.print(Padding(table, (1, 0)))
    for name in rows:
        for way, one in contenders[name]["ways"].items():
            if "failed" in one:
                console.print(Text(f"{name}, {way}: {one['failed'].splitlines()[-1]}", style="yellow"))


def print_quality(found: Mapping[str, Any], setting: Mapping[str, Any], console: Console) -> None:
    """What was reached, a line for each contender and rate."""
    lines = found["contenders"]
    console.print()
    console.print(
        Text(f"{setting['features']:,} features", style="bold cyan").append(
            f"  k {setting['k']}, batches of {setting['batch']:,}, {setting['tokens']:,} tokens, "
            f"rows: {setting['rows']}; FVU on {setting['held_out']:,} others",
            style="dim",
        )
    )
    table = frame("", ["rate", "FVU", "range", "L0", "dead", "s"])
    for line in lines:
        own = line["which"] == "default"
        rate = "default" if own else "–" if line["rate"] is None else f"{line['rate']:g}{'*' * line['at_edge']}"
        name = Text(line["contender"], style="bold" if is_ours(line["contender"]) else "")
        if not line["seeds"]:
            table.add_row(name, rate, Text(line["which"], style="yellow"))
            continue
        fvu = line["fvu"]
        table.add_row(
            name,
            rate,
            Text(f"{fvu['mean']:.4f}", style="bold" if own else ""),
            Text(f"{fvu['low']:.4f}–{fvu['high']:.4f}", style="dim"),
            f"{line['l0']['mean']:.1f}",
            _share(line["dead"]["mean"]),
            f"{line['elapsed']['mean']:,.0f}",
        )
    console.print(Padding(table, (1, 0)))
    if any(line.get("at_edge") for line in lines):
        console.print(Text("* at the edge of the sweep: a rate beyond it might reach more", style="dim"))
    for line in lines:
        if "by_selection" in line:
            seen = line["by_selection"]
            words = f"selected by batch, as in training: FVU {seen['fvu']['mean']:.4f} at L0 {seen['l0']['mean']:.1f}"
            console.print(Text(f"{line['contender']}: {line['remark'] or words}", style="dim"))


def print_memory(found: Mapping[str, Any], setting: Mapping[str, Any], console: Console) -> None:
    """A size: growth beside the bound, of the loop and of ``ms.fit``."""
    console.print()
    console.print(
        Text(found["size"], style="bold cyan").append(
            f"  k {setting['k']}, batches of {setting['batch']:,}, {setting['steps']} steps", style="dim"
        )
    )
    console.print(Text(f"the bound: {setting['bound']}", style="dim"))
    table = frame("growth in MiB", ["bound", "training loop", "of bound", "ms.fit", "of bound"])
    for name, parts in found["architectures"].items():
        cells: list[str | Text] = [f"{parts['loop']['bound'] / 2**20:,.0f}"]
        for part in parts.values():
            style = "yellow" if part["ratio"] > 1 else ""
            cells += [f"{part['growth'] / 2**20:,.0f}", Text(f"{part['ratio']:.2f}", style=style)]
        table.add_row(name, *cells)
    console.print(Padding(table, (1, 0)))


def frame(title: str, headings: Sequence[str]) -> Table:
    """An empty table: names on the left, numbers right-aligned under their headings."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(title, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _times(ratio: float | None) -> str:
    return f"{ratio:.1f}×" if ratio else ""


def _share(of_one: float) -> str:
    """A percentage of two digits: 12%, 1.2%."""
    return f"{of_one:.1%}" if of_one < 0.0995 else f"{of_one:.0%}"


def _way(counted: Mapping[str, Any]) -> str:
    """The way that counts; of ours nothing, since it chooses for itself."""
    return str(counted["way"]) if counted["way"] and len(counted["ways"]) > 1 else ""
