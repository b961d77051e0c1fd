"""Bar 7: 512 neurons as 4,096 features, by the 2023 recipe; how many are dead or ultralow, how much loss is recovered.

The paper's run A/1 saw 8 billion activations, and of 100 million tokens none on which 4.1 % of the features fired, and
7.1 % that fired on fewer than one in a million. What is judged here is wider by reason, not by result:

- half a million tokens do not show a density below 2e-6, so both of the paper's groups are dead here: 11.2 %, of which
  twice as much is allowed, because three resamplings in a short training revive less than four in a long one;
- ultralow is here below one in 100,000, ten times as often: three times the paper's share is allowed;
- what is recovered is never gated across models. It must only exceed what the raw neurons at the same L0 recover.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bars._lab import TM, Lab, scaled
from bars._outcome import Line, Outcome, above_zero, estimate, percent, words
from monoscope.evaluate.evaluation import Evaluation

TITLE = "dead, ultralow, recovered, by the 2023 recipe"
SOURCE = "Bricken et al. 2023, 8 G activations"
DEAD, ULTRALOW, RECOVERED = 0.041, 0.071, 0.79
MOST_DEAD, MOST_ULTRALOW = 2 * (DEAD + ULTRALOW), 3 * ULTRALOW
UNSEEN = "judged on too few tokens to tell a density of one in 100,000"


@cache
def largest(lab: Lab) -> Evaluation:
    """The largest dictionary of reference model A by the 2023 recipe, beside the neurons at its L0."""
    model, settings = lab.model("reference-a"), lab.settings
    made = model.dictionaries(TM, {"2023": scaled(settings, TM, settings.features)})["2023"]
    return model.evaluation({"2023": made, "neurons": model.neurons(made)})


def measure(lab: Lab) -> dict[str, Any]:
    """The dictionary's numbers, and what it recovers beyond the neurons."""
    found = largest(lab)
    shown = ("l0", "fvu", "dead_fraction", "ultra_rare_fraction", "loss_recovered_zero", "loss_recovered_mean")
    return {
        **{name: found.metrics[name].to_json() for name in shown},
        "neurons": found.controls["neurons"]["loss_recovered_zero"].to_json(),
        "over_neurons": found.differences["neurons"]["loss_recovered_zero"].to_json(),
        "features": lab.settings.features,
        "judged": found.facts["n_tokens"],
    }


def judge(measured: Mapping[str, Any]) -> Outcome:
    """Dead and ultralow shares in their bands, and more recovered than by neurons."""
    found = {name: estimate(e) for name, e in measured.items() if isinstance(e, Mapping)}
    dead, ultralow = found["dead_fraction"], found["ultra_rare_fraction"]
    over = found["over_neurons"]
    if ultralow.value is None or dead.value is None:
        return Outcome((), UNSEEN)
    recovered = f"above the neurons' {words(found['neurons'], percent)}"
    return Outcome(
        (
            Line("features", "4,096", "", f"{measured['features']:,}"),
            Line("dead", "4.1 %", f"at most {percent(MOST_DEAD)}", words(dead, percent), dead.value <= MOST_DEAD),
            Line(
                "ultralow",
                "7.1 %",
                f"at most {percent(MOST_ULTRALOW)}",
                words(ultralow, percent),
                ultralow.value <= MOST_ULTRALOW,
            ),
            Line(
                "loss recovered (zero)",
                percent(RECOVERED),
                recovered,
                words(found["loss_recovered_zero"], percent),
                above_zero(over),
            ),
            Line("loss recovered (mean)", "", "", words(found["loss_recovered_mean"], percent)),
            Line("L0", "under 10 to 20", "", words(found["l0"])),
            Line("FVU", "", "", words(found["fvu"])),
        )
    )
