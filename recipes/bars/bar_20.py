"""Bar 20: folding the decoder's norms into the encoder leaves every reconstruction as it was.

The April 2024 recipe leaves decoder norms free and folds them in at the end. A real training of a few dozen steps gives
norms that differ; the reconstruction of held-out rows before and after folding must agree to ``torch.testing``'s
tolerance of the dtype, in fp32 by the library's own encode and decode, and in fp64 by the formula with fp64 weights.

The same is tested on random weights in ``tests/train/test_penalties.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bars._lab import APRIL, Lab, scaled
from bars._outcome import Line, Outcome
from monoscope.dictionary.base import Dictionary
from monoscope.train.penalised import fold_norms
from monoscope.train.trainee import Units

TITLE = "decoder norms folded in"
SOURCE = "Anthropic, April 2024"
STEPS, ROWS = 48, 4096
TOLERANCE = {"fp32": (1.3e-6, 1e-5), "fp64": (1e-7, 1e-7)}  # torch.testing.assert_close: relative, absolute


def reconstruct(d: Dictionary, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The formula of a dictionary whose weights are fp64."""
    return torch.relu(x.double() @ d.w_enc.T + d.b_enc) @ d.w_dec + d.b_dec


def excess(before: Tensor, after: Tensor, tolerance: tuple[float, float]) -> float:
    """The largest difference in units of what is allowed."""
    allowed = tolerance[0] * before.abs() + tolerance[1]
    return float(((after - before).abs() / allowed).max())


def measure(lab: Lab) -> dict[str, Any]:
    """Train a little on reference model A's neurons, fold, compare on rows that come later."""
    data = lab.model("reference-a").data(APRIL)
    trainee = scaled(lab.settings, APRIL, max(16, lab.settings.features // 8)).trainee(data)
    units = Units.of(*data.sample)
    batches = ((x.float() - units.mean_in) / units.scale_in for x, _ in data.batches(0))
    steps = max(1, min(STEPS, data.n_rows // data.batch_size - 1))
    for step, x in zip(range(steps), batches):
        trainee.step(x, x, step * data.batch_size, steps * data.batch_size)
    x, d = next(batches)[:ROWS], trainee.dictionary.requires_grad_(False)
    exact, norms = copy.deepcopy(d).double(), d.w_dec.norm(dim=1)
    before = {"fp32": d(x), "fp64": reconstruct(exact, x)}
    fold_norms(d)
    fold_norms(exact)
    after = {"fp32": d(x), "fp64": reconstruct(exact, x)}
    return {
        "norms": [float(norms.min()), float(norms.max())],
        "folded": float((d.w_dec.norm(dim=1) - 1).abs().max()),
        "d": d.d_in,
        **{name: excess(before[name], after[name], TOLERANCE[name]) for name in before},
    }


def judge(measured: Mapping[str, Any]) -> Outcome:
    """Both within the tolerance, and unit norms afterwards."""
    low, high = measured["norms"]
    if high - low < 1e-3:
        return Outcome((), "all norms are alike, so that folding changes nothing")
    bound = measured["d"] * torch.finfo(torch.float32).eps
    return Outcome(
        (
            Line("decoder norms before", "free", "not all alike", f"{low:.3f} to {high:.3f}", True),
            Line(
                "… less 1, afterwards", "unit", f"{bound:.1e}", f"{measured['folded']:.1e}", measured["folded"] <= bound
            ),
            *(
                Line(
                    f"difference of x̂ in units of the tolerance, {name}",
                    "0",
                    "at most 1",
                    f"{measured[name]:.2f}",
                    measured[name] <= 1,
                )
                for name in TOLERANCE
            ),
        )
    )
