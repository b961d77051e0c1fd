"""Bar 12: wider dictionaries at a fixed penalty recover more of the loss, and their rarest features are rarer.

The paper's ladder A/0 to A/5 goes from 512 features to 131,072; here from an eighth of the largest dictionary to it, in
steps of two. Both must rise (or fall) at every step, and the widest must differ from the narrowest beyond its paired
interval. The least density of a finite sample is one over its tokens, so the density that a twentieth of the living
features stay below stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bars._lab import TM, Lab, scaled
from bars._outcome import Line, Outcome, above_zero, estimate, negative, percent, rises, words

TITLE = "widths at a fixed penalty"
SOURCE = "Bricken et al. 2023, 512 to 131,072 features"


def measure(lab: Lab) -> dict[str, Any]:
    """Every width, and the widest less the narrowest."""
    model = lab.model("reference-a")
    widths = [max(1, lab.settings.features // part) for part in (8, 4, 2, 1)]
    made = model.dictionaries(TM, {str(n): scaled(lab.settings, TM, n) for n in widths})
    found = model.evaluation({str(n): made[str(n)] for n in reversed(widths)})
    every = {str(widths[-1]): found.metrics, **found.controls}
    shown = ("loss_recovered_zero", "rarest", "l0", "fvu", "dead_fraction")
    ends = found.differences[str(widths[0])]
    return {
        "widths": widths,
        "judged": found.facts["n_tokens"],
        "at": {str(n): {name: every[str(n)][name].to_json() for name in shown} for n in widths},
        "ends": {name: ends[name].to_json() for name in ("loss_recovered_zero", "rarest")},
    }


def judge(measured: Mapping[str, Any]) -> Outcome:
    """More recovered and rarer features at every step."""
    at = [{name: estimate(e) for name, e in measured["at"][str(n)].items()} for n in measured["widths"]]
    ends = {name: estimate(e) for name, e in measured["ends"].items()}
    recovered, rarest = ([e[name].value for e in at] for name in ("loss_recovered_zero", "rarest"))
    if None in rarest or None in recovered:
        return Outcome((), "some width has no living feature, or no loss to recover")

    def row(name: str, show: Any = "{:.3g}".format) -> str:
        return " / ".join(words(e[name], show) for e in at)

    return Outcome(
        (
            Line("features", "512 … 131,072", "", " / ".join(f"{n:,}" for n in measured["widths"])),
            Line(
                "loss recovered (zero)",
                "79 % at 4,096, 94.5 % at 131,072",
                "rising",
                row("loss_recovered_zero", percent),
                rises(recovered),
            ),
            Line(
                "… widest less narrowest",
                "",
                "above 0",
                words(ends["loss_recovered_zero"], percent),
                above_zero(ends["loss_recovered_zero"]),
            ),
            Line(
                "log10 density of the rarest",
                "falls",
                "falling",
                row("rarest", "{:.2f}".format),
                rises([-x for x in rarest]),
            ),
            Line(
                "… widest less narrowest",
                "",
                "below 0",
                words(ends["rarest"], "{:.2f}".format),
                above_zero(negative(ends["rarest"])),
            ),
            Line("L0", "", "", row("l0")),
            Line("dead", "", "", row("dead_fraction", percent)),
        )
    )
