"""Bar 8: the same sizes in a replication on 4 billion activations; the share alive, and of those the ultralow.

``shehper/sparse-dictionary-learning`` found 93 % alive, 5 % of these ultralow. Together 12 % were dead or ultralow, as
in the paper, and the bands are those of bar 7 for the same reasons: twice that may be dead where half a million tokens
are looked at, and three times the share of the living may be ultralow at a threshold ten times as high.

The dictionary is that of bar 7: papers differ in length, and here both are short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bars._lab import Lab
from bars._outcome import Line, Outcome, estimate, percent, words
from bars.bar_07 import UNSEEN, largest
from monoscope.evaluate import Estimate

TITLE = "alive, and ultralow of those"
SOURCE = "shehper 2024, 4 G activations"
ALIVE, ULTRALOW = 0.93, 0.05
LEAST_ALIVE, MOST_ULTRALOW = 1 - 2 * (1 - ALIVE + ULTRALOW * ALIVE), 3 * ULTRALOW


def measure(lab: Lab) -> dict[str, Any]:
    """Dead and ultra-rare shares."""
    found = largest(lab)
    shown = {name: found.metrics[name].to_json() for name in ("dead_fraction", "ultra_rare_fraction")}
    return {**shown, "features": lab.settings.features, "judged": found.facts["n_tokens"]}


def judge(measured: Mapping[str, Any]) -> Outcome:
    """Both shares in their bands."""
    dead, rare = estimate(measured["dead_fraction"]), estimate(measured["ultra_rare_fraction"])
    if None in (dead.value, dead.low, dead.high, rare.value, rare.low, rare.high):
        return Outcome((), UNSEEN)
    alive = Estimate(1 - dead.value, 1 - dead.high, 1 - dead.low)
    if alive.value <= 0:
        return Outcome((Line("alive", percent(ALIVE), "", words(alive, percent), False),))
    of_alive = Estimate(*(x / alive.value for x in (rare.value, rare.low, rare.high)))
    return Outcome(
        (
            Line(
                "alive",
                percent(ALIVE),
                f"at least {percent(LEAST_ALIVE)}",
                words(alive, percent),
                alive.value >= LEAST_ALIVE,
            ),
            Line(
                "ultralow of the living",
                percent(ULTRALOW),
                f"at most {percent(MOST_ULTRALOW)}",
                words(of_alive, percent),
                of_alive.value <= MOST_ULTRALOW,
            ),
        )
    )
