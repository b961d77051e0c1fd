"""The figures of the report in SVG: the same as the pages draw in the browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from monoscope.app.ui.payloads import CONTROLS
from monoscope.markup import Markup, el


def known(metric: Mapping[str, Any] | None) -> bool:
    """Whether a metric applies and was measured."""
    return metric is not None and metric.get("value") is not None


def percent(x: float) -> str:
    """A fraction as a CSS length."""
    return f"{100 * x:.2f}%"


def density(x: float) -> str:
    """A density for people: per cent, with about three digits.

    >>> density(0.0123), density(0)
    ('1.23 %', 'never')
    """
    if not x:
        return "never"
    share = 100 * x
    digits = 1 if share >= 10 else 2 if share >= 1 else 3 if share >= 0.1 else 4
    return f"{share:.{digits}f} %"


def comparison(name: str, rows: Sequence[tuple[str, Mapping[str, Any]]], digits: int, clip: bool) -> Markup:
    """One metric for the dictionary (first row) and its controls on a common axis. ``clip``: the axis begins at 0."""
    numbers = [row[k] for _, row in rows for k in ("value", "low", "high") if row.get(k) is not None]
    low, high = 0.0 if clip else min(0.0, *numbers), max(numbers) * 1.04 or 1.0
    if name.startswith("Loss"):
        high = max(1.0, *numbers)

    def place(x: float) -> str:
        return percent(min(1.0, max(0.0, (x - low) / (high - low))))

    def line(label: str, row: Mapping[str, Any], own: bool) -> Markup:
        marks: list[Markup] = [el("line", {"class": "track", "x1": 0, "x2": "100%", "y1": 8, "y2": 8})]
        shown, title = "–", None
        if known(row):
            value, below, above = row["value"], row.get("low"), row.get("high")
            ends = [value if end is None else end for end in (below, above)]
            marks.append(el("line", {"class": "whisker", "x1": place(ends[0]), "x2": place(ends[1]), "y1": 8, "y2": 8}))
            marks.append(el("circle", {"class": "dot", "cx": place(value), "cy": 8, "r": 4.5 if own else 3.5}))
            shown = f"{value:z.{digits}f}"
            title = None if below is None else f"95 % interval {below:z.{digits}f} to {above:z.{digits}f}"
        figure = el("svg", {"height": 16, "aria-hidden": "true"}, marks)
        number = el("span", {"class": "num", "role": "cell", "title": title}, shown)
        kind = "own" if own else "control"
        return el("div", {"class": kind, "role": "row"}, el("span", {"role": "rowheader"}, label), figure, number)

    lines = [line(label, row, i == 0) for i, (label, row) in enumerate(rows)]
    ends = el("span", {"class": "ends"}, el("span", {}, f"{low:z.2f}"), el("span", {}, f"{high:.3g}"))
    axis = el("div", {"class": "axis", "aria-hidden": "true"}, el("span"), ends, el("span"))
    return el(
        "div", {"class": "comparison", "role": "table", "aria-label": f"{name}, beside its controls"}, lines, axis
    )


def metric(evaluation: Mapping[str, Any], name: str, words: str, note: str, digits: int) -> Markup | None:
    """A headline number with its interval and controls; None where it does not apply."""
    own = evaluation.get("metrics", {}).get(name)
    if not known(own):
        return None
    rows = [("this dictionary", own)]
    rows += [(CONTROLS.get(c, c), m[name]) for c, m in evaluation.get("controls", {}).items() if name in m]
    between = "" if own.get("low") is None else f"95 %: {own['low']:z.{digits}f} to {own['high']:z.{digits}f}"
    return el(
        "article",
        {"class": "metric"},
        el("h3", {}, words),
        el("p", {"class": "value"}, f"{own['value']:z.{digits}f}", el("small", {}, between)),
        el("p", {"class": "note"}, note),
        comparison(words, rows, digits, name == "dead_fraction"),
    )


def density_histogram(histogram: Mapping[str, Sequence[Any]], height: int = 150) -> Markup:
    """How many features fire how often, on a logarithmic axis."""
    edges, counts = histogram["edges"], histogram["counts"]
    if not edges:
        return el("p", {"class": "none"}, "No feature fires on this text.")
    low, high, top = math.log10(edges[0]), math.log10(edges[-1]), max(counts)

    def place(x: float) -> float:
        return (math.log10(x) - low) / (high - low)

    bars = []
    for i, n in enumerate(counts):
        if n:
            tall = max(1.5, n / top * height)
            left, right = place(edges[i]), place(edges[i + 1])
            title = el("title", {}, f"{n:,} features fire on {density(edges[i])} to {density(edges[i + 1])} of tokens")
            at = {"x": percent(left), "width": percent(right - left - 0.0015), "y": f"{height - tall:.1f}"}
            bars.append(Markup(el("g", {}, title, el("rect", {**at, "height": f"{tall:.1f}"}))))
    ticks = [_tick(place(10.0**p), height, 10.0**p) for p in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    base = el("line", {"class": "base", "x1": 0, "x2": "100%", "y1": height, "y2": height})
    words = f"Histogram of feature densities, from {density(edges[0])} to {density(edges[-1])}"
    return el(
        "svg", {"class": "histogram", "height": height + 22, "role": "img", "aria-label": words}, bars, base, ticks
    )


def _tick(x: float, height: int, value: float) -> list[Markup]:
    name = f"{100 * value:g} %" if value >= 1e-4 else f"1 in {1 / value:,.0f}"
    anchor = "start" if x < 0.04 else "end" if x > 0.96 else "middle"
    line = el("line", {"class": "tick", "x1": percent(x), "x2": percent(x), "y1": height, "y2": height + 4})
    return [line, el("text", {"x": percent(x), "y": height + 17, "text-anchor": anchor}, name)]


def interval(value: float, low: float | None, high: float | None) -> Markup:
    """A value between 0 and 1 with its interval."""
    ends = [value if end is None else end for end in (low, high)]
    return el(
        "svg",
        {"class": "interval", "height": 12, "aria-hidden": "true"},
        el("line", {"class": "track", "x1": 0, "x2": "100%", "y1": 6, "y2": 6}),
        el("line", {"class": "whisker", "x1": percent(ends[0]), "x2": percent(ends[1]), "y1": 6, "y2": 6}),
        el("circle", {"class": "dot", "cx": percent(value), "cy": 6, "r": 3.5}),
    )
