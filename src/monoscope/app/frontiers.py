"""What a dictionary gives for its sparsity: L0 against FVU and against loss recovered, as SVG and PNG.

Drawn by matplotlib, the extra ``plots``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monoscope.app.ui import payloads
from monoscope.evaluate.evaluation import Metrics
from monoscope.evaluate.intervals import Estimate

FRONTIERS = {"fvu": "fraction of variance unexplained", "loss_recovered_mean": "loss recovered (mean ablation)"}
FORMATS = ("svg", "png")
WIDE = 4.0  # ratio of the largest to the smallest from which an axis is logarithmic
TICKS = {"x": (2.0, (1.0,)), "y": (10.0, (1.0, 2.0, 3.0, 5.0, 7.0))}  # of such an axis: its base, and what is named
RATIOS = {"fvu"}  # metrics of which a tenth less is as much anywhere
COLOURS, MARKERS = 10, ("o", "s", "^", "D")


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(judged: Mapping[str, Metrics], own: tuple[str, ...], out: Path) -> list[Path]:
    """Write ``l0-METRIC.svg`` and ``.png`` into the folder ``out`` for each frontier that applies; returns the paths.

    Dictionaries are joined in the order of their L0: the points of a sweep over k as one series, or all where each is a
    series of its own. Controls stand alone. Bars are 95 % intervals. L0 and FVU are on logarithmic axes where they
    differ by much.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "monoscope"
    from matplotlib import pyplot

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for metric, words in FRONTIERS.items():
        points = {
            name: (m["l0"], m[metric]) for name, m in judged.items() if known(m.get("l0")) and known(m.get(metric))
        }
        if not points:
            continue
        figure, axes = pyplot.subplots(figsize=(7.6, 4.2), layout="constrained")
        place = {name: (x.value or 0.0, y.value or 0.0) for name, (x, y) in points.items()}
        mine = [name for name in points if name in own]
        series, alone = grouped(mine), grouped([name for name in points if name not in own])
        line = sorted(place[name] for name in mine)
        if len(series) == len(mine) and len({x for x, _ in line}) == len(line):  # one point for each L0: a frontier
            axes.plot([x for x, _ in line], [y for _, y in line], color="0.75", linewidth=1, zorder=0)
        for i, (name, members) in enumerate([*series, *alone]):
            members = sorted(members, key=place.__getitem__)
            xs, ys = [points[member][0] for member in members], [points[member][1] for member in members]
            axes.errorbar(
                [place[m][0] for m in members], [place[m][1] for m in members], xerr=bars(xs), yerr=bars(ys),
                capsize=2, linewidth=1, linestyle="-" if len(members) > 1 else "none", color=f"C{i % COLOURS}",
                marker=MARKERS[i // COLOURS % len(MARKERS)] if members[0] in own else "x", markersize=4,
                label=payloads.CONTROLS.get(name, name),
            )  # fmt: skip
        axes.set(xlabel="active features per token (L0)", ylabel=words)
        axes.grid(alpha=0.25)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        logarithmic(axes, "x", [x for x, _ in points.values()])
        if metric in RATIOS:
            logarithmic(axes, "y", [y for _, y in points.values()])
        for kind in FORMATS:
            path = out / f"l0-{metric}.{kind}"
            figure.savefig(path, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            written.append(path)
        pyplot.close(figure)
    return written


def logarithmic(axes: Any, which: str, estimates: Sequence[Estimate]) -> None:
    """Make an axis logarithmic, with plain numbers beside it, if what is drawn along it is above 0 and ``WIDE``."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    values = [e.value or 0.0 for e in estimates]
    lowest = min([*values, *(e.low for e in estimates if e.low is not None)])
    if lowest <= 0 or max(values) < WIDE * min(values):
        return
    base, named = TICKS[which]
    getattr(axes, f"set_{which}scale")("log", base=base)
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(base, named))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def known(estimate: Estimate | None) -> bool:
    """Whether a metric applies and was measured."""
    return estimate is not None and estimate.value is not None


def grouped(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Names of dictionaries as series: those of a sweep that differ in k alone are one, under the name they share.

    So are those of one dictionary at several k.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        whole, cut, _ = name.partition("@")
        parts = whole.split(",")
        shared = [part.removeprefix("architecture=") for part in parts if cut or not part.startswith("k=")]
        series = ", ".join(shared) if "=" in whole and shared else whole
        found.setdefault(f"{series} cut short" if cut else series, []).append(name)
    return list(found.items())


def bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """How far the intervals reach below and above, as matplotlib wants it."""
    reach = [(e.value or 0.0, e.low or 0.0, e.high or 0.0) for e in estimates]
    return [[max(0.0, value - low) for value, low, _ in reach], [max(0.0, high - value) for value, _, high in reach]]
