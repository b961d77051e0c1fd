"""JumpReLU with a penalty on the L0 itself, as *Gemma Scope* trained it (Lieberum et al. 2024).

Published: rows scaled to mean squared norm 1, squared error summed over a row; rate 7e-5, warmed up from a tenth by
half a cosine over the first thousand of about a million steps of 4,096 rows and then constant; the penalty grown over
the first ten thousand; Adam's first decay rate 0; gradients as they are, as nothing is said of clipping; unit decoder
rows, encoder tied to the decoder at the beginning, thresholds of 0.001 and a bandwidth of 0.001 at any width.

Thresholds learn as fast as the rest, by their logarithm, so a training that is much shorter than the published one
hardly moves them: there pass ``threshold_rate``.

Not reproduced: the weight of the penalty, which was chosen anew for every site and L0; 0.002 is this file's choice, at
which a feature has to explain a fivehundredth of the variance of the rows that have it. A wanted L0 finds its own.
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
        "norm": "one",
        "warmup_shape": "cosine",
        "loss_per": "row",
        "clip": 0.0,
        "beta1": 0.0,
        "encoder_scale": 1.0,
        "form": "step",
        "penalty": 0.002,
        "penalty_warmup": 0.01,
        "bandwidth": 0.001,
        "threshold": 0.001,
        "threshold_rate": 1.0,
        "auxk": 0.0,
    },
)
