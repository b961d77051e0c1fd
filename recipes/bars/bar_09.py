"""Bar 9: how many features live without resampling, with silent ones drawn anew at random, and by the 2023 recipe.

On 0.8 billion activations a replication counted about 200, 350 and 1,700 of 4,096. All three began with Kaiming-uniform
weights. The middle one gave silent features new such weights and left their biases and Adam's moments, the 2023 recipe
points them at inputs that are reconstructed badly. Only the order is the test, and it must hold for every seed: how
many features die depends on the rate, the penalty and the length. Where without resampling under a twentieth are dead,
resampling has nothing to do and nothing is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bars._lab import TM, Lab, scaled
from bars._outcome import Line, Outcome, estimate, negative, rises, words

TITLE = "living features by kind of resampling"
SOURCE = "shehper 2024, 0.8 G activations"
ARMS: dict[str, dict[str, Any]] = {
    "none": {"resample_at": ()},
    "random weights": {"resample_from": "initial"},
    "2023 recipe": {},
}
PAPER = {"none": "~200", "random weights": "~350", "2023 recipe": "1,700+"}
ENOUGH_DEAD = 0.05
MIDDLE = "random weights"


def measure(lab: Lab) -> dict[str, Any]:
    """Dead shares of every arm and seed, with the paired differences from the middle arm."""
    model, n = lab.model("reference-a"), max(1, lab.settings.features // 2)
    recipes = {
        f"{arm}/{seed}": scaled(lab.settings, TM, n, seed=seed, **changes)
        for seed in range(lab.settings.seeds)
        for arm, changes in ARMS.items()
    }
    made = model.dictionaries(TM, recipes)
    seeds = []
    for seed in range(lab.settings.seeds):
        arms = {arm: made[f"{arm}/{seed}"] for arm in (MIDDLE, *(a for a in ARMS if a != MIDDLE))}
        found = model.evaluation(arms)
        every = {MIDDLE: found.metrics, **found.controls}
        seeds.append(
            {
                "dead": {arm: every[arm]["dead_fraction"].to_json() for arm in ARMS},
                "l0": {arm: every[arm]["l0"].value for arm in ARMS},
                "fvu": {arm: every[arm]["fvu"].value for arm in ARMS},
                "middle_less": {arm: d["dead_fraction"].to_json() for arm, d in found.differences.items()},
            }
        )
    return {"features": n, "judged": found.facts["n_tokens"], "seeds": seeds}


def judge(measured: Mapping[str, Any]) -> Outcome:
    """The order, in every seed."""
    n = measured["features"]
    lines, few = [], False
    for seed, found in enumerate(measured["seeds"]):
        dead = {arm: estimate(e) for arm, e in found["dead"].items()}
        alive = [n * (1 - dead[arm].value) for arm in ARMS]
        few = few or dead["none"].value < ENOUGH_DEAD
        shown = ", ".join(f"{count:,.0f}" for count in alive)
        lines.append(Line(f"alive of {n:,}, seed {seed}", ", ".join(PAPER.values()), "rising", shown, rises(alive)))
        for arm, difference in found["middle_less"].items():
            less = estimate(difference)  # of dead shares: the middle arm's less the other's
            more, what = (negative(less), f"{MIDDLE} over none") if arm == "none" else (less, f"{arm} over {MIDDLE}")
            lines.append(Line(f"… {what}", "", "", words(more, lambda share: f"{n * share:,.0f}")))
    return Outcome(tuple(lines), f"without resampling under {ENOUGH_DEAD:.0%} are dead" if few else "")
