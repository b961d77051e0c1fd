"""Bar 18: the steps of the 2023 recipe to the last bit of the dtype, on a real training of a few dozen steps.

After every step decoder rows have unit norm, and what reached Adam's first moment has no part along the row. What is
resampled has a unit decoder row, an encoder row along the same input at 0.2 of the mean living encoder norm, a bias
of 0 and moments of 0. So that there is something to resample, some features are buried at the beginning. Bounds are
those of fp32: a scalar product of d numbers is off by at most d ε of the lengths.

The same is tested exactly in ``tests/train/test_train.py`` and ``tests/ops/test_ops.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bars._lab import TM, Lab, scaled
from bars._outcome import Line, Outcome
from monoscope.ops.adam import BETAS
from monoscope.train.resampling import ENCODER_SHARE
from monoscope.train.trainee import Trainee, Units

TITLE = "the 2023 recipe's steps, exactly"
SOURCE = "Bricken et al. 2023"
STEPS, BURIED = 48, 0.05
EPSILON = torch.finfo(torch.float32).eps


class Watch:
    """Looks at a trainee between its steps."""

    def __init__(self, trainee: Trainee) -> None:
        self.trainee, self.worst = trainee, {"norm": 0.0, "along": 0.0, "removed": 0.0}
        self.raw, self.fresh = torch.zeros(()), torch.zeros(())  # the newest gradient; which rows were just resampled
        self.resampled: dict[str, float] = {}
        trainee.parameters["w_dec"].register_hook(self._keep)
        self._resample = trainee.objective.resampling.resample
        trainee.objective.resampling.resample = self.resample

    def _keep(self, gradient: Tensor) -> None:
        self.raw = gradient.detach().clone()

    def step(self, x: Tensor, seen: int, n_tokens: int) -> None:
        """One step, and the largest deviations of it."""
        rows, first = (t.detach().clone() for t in (self.trainee.parameters["w_dec"], self.trainee.moments["w_dec"][0]))
        self.fresh = torch.zeros(len(rows), dtype=torch.bool)
        self.trainee.step(x, x, seen, n_tokens)
        after = self.trainee.moments["w_dec"][0]
        added, size = along(after - BETAS[0] * first, rows), after.norm(dim=1) + BETAS[0] * first.norm(dim=1)
        self.note("along", (added / size.clamp_min(1e-30))[~self.fresh])
        self.note("removed", along(self.raw, rows) / self.raw.norm(dim=1).clamp_min(1e-30))
        self.note("norm", (self.trainee.parameters["w_dec"].detach().norm(dim=1) - 1).abs())

    def note(self, name: str, values: Tensor) -> None:
        """Keep the largest seen so far."""
        self.worst[name] = max(self.worst[name], float(values.max()))

    def resample(self, dictionary: Any, moments: Any, dead: Tensor, share: float) -> Tensor:
        """The objective's own resampling, and what it left."""
        wanted = ENCODER_SHARE * float(dictionary.w_enc.detach()[~dead].double().norm(dim=1).mean())
        places = self._resample(dictionary, moments, dead, share)
        self.fresh = dead
        encoder, decoder = dictionary.w_enc.detach()[dead], dictionary.w_dec.detach()[dead]
        norms = encoder.norm(dim=1)
        states = [moments.moments[name][i][dead].abs().max() for name in ("w_enc", "b_enc", "w_dec") for i in (0, 1)]
        self.resampled = {
            "features": int(dead.sum()),
            "decoder": float((decoder.norm(dim=1) - 1).abs().max()),
            "encoder": float((norms / wanted - 1).abs().max()),
            "same": float((encoder / norms[:, None] - decoder).abs().max()),
            "bias": float(dictionary.b_enc.detach()[dead].abs().max()),
            "moments": float(torch.stack(states).max()),
        }
        return places


def along(vectors: Tensor, rows: Tensor) -> Tensor:
    """How much of each vector lies along its (unit) row."""
    return (vectors.double() * rows.double()).sum(1).abs()


def measure(lab: Lab) -> dict[str, Any]:
    """Train a few dozen steps on reference model A's neurons and watch."""
    data = lab.model("reference-a").data(TM)
    steps, features = min(STEPS, data.n_rows // data.batch_size), max(16, lab.settings.features // 8)
    n_tokens = steps * data.batch_size
    recipe = scaled(lab.settings, TM, features, resample_at=(0.5,))
    trainee = recipe.trainee(replace(data, n_rows=n_tokens))
    buried = max(2, round(BURIED * features))
    with torch.no_grad():
        trainee.dictionary.b_enc[:buried] = -100.0
    units, watch = Units.of(*data.sample), Watch(trainee)
    for step, (x, _) in zip(range(steps), data.batches(0)):
        watch.step((x.float() - units.mean_in) / units.scale_in, step * data.batch_size, n_tokens)
    return {**watch.worst, "steps": steps, "d": trainee.dictionary.d_in, "buried": buried, "resampled": watch.resampled}


def judge(measured: Mapping[str, Any]) -> Outcome:
    """Every deviation within its bound."""
    d, left = measured["d"], measured["resampled"]
    bound = d * EPSILON
    if not left or left["features"] < measured["buried"]:
        return Outcome((Line("resampled", "all silent", f"{measured['buried']}", str(left.get("features", 0)), False),))

    def small(what: str, paper: str, value: float, limit: float) -> Line:
        return Line(what, paper, f"at most {limit:.1e}" if limit else "exactly 0", f"{value:.1e}", value <= limit)

    return Outcome(
        (
            small(f"decoder norms less 1, after each of {measured['steps']} steps", "unit", measured["norm"], bound),
            small("share along the row of what reached Adam", "0", measured["along"], bound),
            Line("… of the gradient before", "", "", f"{measured['removed']:.2f}"),
            Line("resampled", "silent ones", f"at least {measured['buried']}", f"{left['features']}", True),
            small("… decoder norm less 1", "unit", left["decoder"], bound),
            small("… encoder norm over 0.2 of the living less 1", "0.2", left["encoder"], bound),
            small("… encoder's direction less the decoder's", "the input", left["same"], bound),
            small("… encoder bias", "0", left["bias"], 0.0),
            small("… Adam's moments", "reset", left["moments"], 0.0),
        )
    )
