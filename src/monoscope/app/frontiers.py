"""What a dictionary gives for its sparsity: L0 against FVU and against loss recovered, as SVG and PNG.

Drawn by matplotlib, the extra ``plots``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from monoscope.app.ui import payloads
from monoscope.evaluate.evaluation import Metrics
from monoscope.evaluate.intervals import Estimate

FRONTIERS = {"fvu": "fraction of variance unexplained", "loss_recovered_mean": "loss recovered (mean ablation)"}
FORMATS = ("svg", "png")


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(judged: Mapping[str, Metrics], own: tuple[str, ...], out: Path) -> list[Path]:
    """Write ``l0-METRIC.svg`` and ``.png`` into the folder ``out`` for each frontier that applies; returns the paths.

    Dictionaries (``own``) are joined in the order of their L0; controls stand alone. Bars are 95 % intervals.
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
        figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
        line = sorted((x.value or 0.0, y.value or 0.0) for name, (x, y) in points.items() if name in own)
        if len({x for x, _ in line}) == len(line):  # a frontier has one point for each L0
            axes.plot([x for x, _ in line], [y for _, y in line], color="0.75", linewidth=1, zorder=0)
        for name, (x, y) in points.items():
            axes.errorbar(
                [x.value], [y.value], xerr=bars(x), yerr=bars(y), capsize=3, linestyle="none",
                marker="o" if name in own else "x", label=payloads.CONTROLS.get(name, name),
            )  # fmt: skip
        axes.set(xlabel="active features per token (L0)", ylabel=words)
        axes.grid(alpha=0.25)
        axes.legend(fontsize="small")
        for kind in FORMATS:
            path = out / f"l0-{metric}.{kind}"
            figure.savefig(path, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            written.append(path)
        pyplot.close(figure)
    return written


def known(estimate: Estimate | None) -> bool:
    """Whether a metric applies and was measured."""
    return estimate is not None and estimate.value is not None


def bars(e: Estimate) -> list[list[float]]:
    """How far the interval reaches below and above, as matplotlib wants it."""
    value = e.value or 0.0
    return [[max(0.0, value - (e.low or 0.0))], [max(0.0, (e.high or 0.0) - value)]]
