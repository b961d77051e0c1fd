"""JumpReLU with a penalty on the L0 itself, as *Gemma Scope* trained it (Lieberum et al. 2024).

Published: rate 7e-5, warmed up over the first thousand of about a million steps of 4,096 rows and then constant; the
penalty grown over the first ten thousand; Adam's first decay rate 0; thresholds beginning at 0.001 and a bandwidth of
0.001, for rows scaled to mean squared norm 1. Here that norm is the width, so both are multiplied by its square root:
0.05 is for Gemma 2 2B's 2,304 numbers, and another width asks for other options.

Not reproduced: the shape of the warm-up, a cosine from a tenth. Thresholds learn as fast as the rest, by their
logarithm, so a training that is much shorter than the published one hardly moves them: there pass ``threshold_rate``.
The weight of the penalty was chosen anew for every site and L0, so there is no published one: 5 is Monoscope's default,
and a wanted L0 finds its own.
"""

from __future__ import annotations

from monoscope.train.presets import PLAIN, Preset

PRESET = Preset(
    architecture="jumprelu",
    batch_size=4096,
    rate=7e-5,
    warmup=0.001,
    decay=0.0,
    options={
        **PLAIN,
        "beta1": 0.0,
        "form": "step",
        "penalty": 5.0,
        "penalty_warmup": 0.01,
        "bandwidth": 0.05,
        "threshold": 0.05,
        "threshold_rate": 1.0,
        "auxk": 0.0,
    },
)
