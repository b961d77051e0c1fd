"""What the terminal shows: the table that a run ends with, a text coloured by its features, and search results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from monoscope.app.ui import payloads
from monoscope.app.ui.figures import density, known
from monoscope.visible import label_parts, plain, safe, visible

WEAK, STRONG = (255, 240, 219), (242, 155, 56)  # the pages' scale for activation, under dark text
PALETTE = ("#f2b34b", "#8fc7c4", "#d9a5c7", "#a9cf8a", "#e79a7f", "#a8b6ec", "#d8cf6a", "#c3b59f")
BORNE_OUT = 0.5  # F1 below which a label is a hint
WIDE = 110  # columns from which a table shows all it has
KINDS = {"context": "contextual", "token": "token", "": "–"}


def _shade(strength: float) -> str:
    """A background between weak and strong, with ink that can be read on it whatever the terminal's theme."""
    red, green, blue = (round(w + (s - w) * strength) for w, s in zip(WEAK, STRONG, strict=True))
    return f"#1d1c1a on #{red:02x}{green:02x}{blue:02x}"


def _visible(text: str, style: str = "", *, spaces: bool = False) -> Text:
    """A token's text; marks for whitespace are dim."""
    out = Text()
    for piece, quiet in visible(text, spaces=spaces):
        out.append(piece, style=f"dim {style}" if quiet else style)
    return out


def _excerpt(example: Mapping[str, Any] | None, most: float | None, room: int = 52) -> Text:
    """An example on one line, its own token in sight, coloured by activation."""
    out = Text(no_wrap=True, overflow="ellipsis")
    if example is None:
        return out
    tokens, position = example["tokens"], example["position"]
    at = next(i for i, t in enumerate(tokens) if t["position"] == position)
    before, first = 0, at
    while first and before + len(plain(tokens[first - 1]["text"])) <= room // 2:
        first -= 1
        before += len(plain(tokens[first]["text"]))
    for token in tokens[first:]:
        value = token["value"] or 0.0
        style = _shade(min(1.0, value / most)) if value > 0 and most else ""
        out.append_text(_visible(token["text"], f"bold {style}" if token["position"] == position else style))
    return out


def _label(words: str, f1: float | None) -> Text:
    """A label; its tokens stand out, and one that evidence does not bear out is set back."""
    weak = "dim italic " if f1 is None or f1 < BORNE_OUT else ""
    out = Text()
    for part, token in label_parts(words):
        out.append(part, style=weak + ("cyan" if token else ""))
    return out if words else Text("no label", style="dim italic")


def _dots(value: float | None) -> Text:
    """An F1 as a small bar."""
    filled = round(10 * (value or 0.0))
    return Text("━" * filled, style="cyan").append("━" * (10 - filled), style="bright_black")


def print_summary(catalogue: Any, console: Console, limit: int = 24) -> None:
    """What the model thinks about: health beside its controls, then the best-tested features.

    Args:
        catalogue: what ``monoscope.open_catalogue`` returns.
        console: where to.
        limit: how many features.
    """
    overview = payloads.overview(catalogue)
    console.print()
    console.print(
        Rule(Text(f"What {plain(payloads.short_name(overview['model']))} thinks about", style="bold"), style="cyan")
    )
    labels = overview["labels"]
    console.print(
        Text(
            f"{overview['n_features']:,} features at {plain(overview['where'])}, {overview['alive']:,} of them alive "
            f"on {overview['n_tokens']:,} held-out tokens. {labels['context']['f1_50']:,} have a contextual label with "
            f"F1 ≥ 0.5 ({labels['context']['f1_80']:,} ≥ 0.8), {labels['token']['f1_50']:,} a token label.",
        ),
    )
    if overview["evaluation"]:
        print_health(overview["evaluation"], console)
    print_features(payloads.best(catalogue, limit), console)


def print_health(evaluation: Mapping[str, Any], console: Console) -> None:
    """The metrics of ``evaluation.json`` as a table: a row each for the dictionary and its controls."""
    shown = [m for m in payloads.HEADLINES if known(evaluation.get("metrics", {}).get(m[0]))]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("")
    for name, *_ in shown:
        table.add_column(name.replace("loss_recovered_", "loss recovered\n").replace("_", " "), justify="right")

    def cell(metric: Mapping[str, Any] | None, digits: int, own: bool) -> Text:
        if metric is None or not known(metric):
            return Text("–", style="dim")
        out = Text(f"{metric['value']:z.{digits}f}", style="bold" if own else "")
        if metric.get("low") is not None:
            out.append(f" ±{(metric['high'] - metric['low']) / 2:.{digits}f}", style="dim")
        return out

    rows = [("this dictionary", evaluation["metrics"]), *evaluation.get("controls", {}).items()]
    for i, (name, metrics) in enumerate(rows):
        words = Text(payloads.CONTROLS.get(name, name), style="bold cyan" if i == 0 else "")
        table.add_row(words, *(cell(metrics.get(m[0]), m[3], i == 0) for m in shown))
    console.print(Padding(table, (1, 0, 0, 0)))


def print_features(rows: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Features with label, evidence and an excerpt, as ``payloads.best`` gives them."""
    wide = console.width >= WIDE
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", expand=True)
    table.add_column("#", justify="right", style="dim", no_wrap=True)
    table.add_column("it fires on", ratio=5, overflow="fold")
    table.add_column("F1, 95 %", no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True)
    table.add_column("of tokens", justify="right", no_wrap=True)
    if wide:
        table.add_column("for example", ratio=8, no_wrap=True)
    empty = True
    for row in rows:
        empty = False
        f1 = Text(f"{row['label_f1']:.2f}", style="bold").append(
            f" {row['label_f1_low']:.2f}–{row['label_f1_high']:.2f}", style="dim"
        )
        words = _label(row["label"], row["label_f1"])
        cells = [
            Text(str(row["id"])),
            words,
            f1,
            *([_dots(row["label_f1"])] if wide else []),
            Text(density(row["density"])),
        ]
        table.add_row(*cells, *([_excerpt(row["example"], row["max"])] if wide else []))
    if empty:
        console.print(Text("No feature has a label yet; `monoscope explain` writes them.", style="dim"))
    else:
        console.print(table)


def reading_json(reading: Mapping[str, Any]) -> str:
    """A reading as one line of JSON, for programs."""
    return json.dumps(reading, ensure_ascii=False, allow_nan=False)


def print_reading(reading: Mapping[str, Any], console: Console, strongest: int = 3) -> None:
    """A text coloured by feature, and each token's strongest features in words.

    Args:
        reading: what ``Reader.read`` returns.
        console: where to.
        strongest: how many features to list for each token.
    """
    tokens = reading["tokens"]
    if not tokens:
        console.print(Text("The text is empty.", style="dim"))
        return
    colours = _colours(tokens)
    console.print()
    console.print(_coloured(tokens, colours))
    console.print()
    names = {f["id"]: (f["label"], f["label_f1"]) for token in tokens for f in token["features"]}
    for feature, colour in colours.items():
        legend = Text("  ").append("   ", style=f"on {colour}").append(f" {feature:>6}  ", style="dim")
        console.print(legend.append_text(_label(*names[feature])))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("token", no_wrap=True, max_width=24)
    table.add_column("strongest features")
    for token in tokens:
        table.add_row(_visible(token["text"], "bold", spaces=True), _strongest(token["features"][:strongest], colours))
    console.print(table)


def _colours(tokens: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """The features that lead the most tokens, a colour each; a labelled one goes before one without words."""
    leads: Counter[int] = Counter()
    for token in tokens:
        named = [f for f in token["features"] if f["label"]] or token["features"]
        if named:
            leads[named[0]["id"]] += 1
    return {feature: colour for (feature, _), colour in zip(leads.most_common(len(PALETTE)), PALETTE, strict=False)}


def _coloured(tokens: Sequence[Mapping[str, Any]], colours: Mapping[int, str]) -> Text:
    out = Text()
    for token in tokens:
        own = next((f["id"] for f in token["features"] if f["id"] in colours), None)
        style = "" if own is None else f"#1d1c1a on {colours[own]}"
        out.append(safe(token["text"]).replace("\t", "    "), style=style)
    return out


def _strongest(features: Sequence[Mapping[str, Any]], colours: Mapping[int, str]) -> Text:
    out = Text()
    for i, feature in enumerate(features):
        if i:
            out.append("\n")
        out.append("▌", style=colours.get(feature["id"], "dim"))
        out.append(f"{feature['value']:>6.2f} ", style="dim")
        out.append_text(_label(feature["label"], feature["label_f1"]))
        out.append(f"  #{feature['id']}", style="dim")
        if feature["label_f1"] is not None:
            out.append(f"  F1 {feature['label_f1']:.2f}", style="dim")
    return out


def print_hits(hits: Sequence[Any], console: Console) -> None:
    """Search results: id, label, F1 and density."""
    if not hits:
        console.print(Text("No feature matches.", style="dim"))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name, side in (("#", "right"), ("label", "left"), ("F1", "right"), ("tokens", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for hit in hits:
        f1 = payloads.number(hit.label_f1)
        table.add_row(str(hit.id), _label(hit.label, f1), "–" if f1 is None else f"{f1:.2f}", density(hit.density))
    console.print(table)
