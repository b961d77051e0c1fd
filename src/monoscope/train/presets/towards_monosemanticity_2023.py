"""*Towards Monosemanticity* (Bricken et al. 2023), the run A/5 with its penalty of 0.004.

Published: one million steps of 8,192 rows, each read once, as the model has them, neither centred nor scaled; mean
squared error over vector elements plus the penalty; features resampled at steps 25, 50, 75 and 100 thousand, looking
back 12,500 steps, from a sample of 819,200 rows. The steps are held as shares of the training, so a shorter one
resamples as early in proportion. Nothing is said of clipping, so gradients are as they are.

A penalty of 0.004 is meant for activations of that model. Rows of another size want another, or ``l0``, or
``scale=True``, which brings them to a variance of about 1 first.

Not reproduced: the rate, which the paper does not state (1e-4 is this file's choice; the paper says that lower rates
with more steps help and that annealing does not).
"""

from __future__ import annotations

from monoscope.train.presets import Preset

PRESET = Preset(
    architecture="l1_2023",
    batch_size=8192,
    rate=1e-4,
    warmup=0.0,
    decay=0.0,
    options={
        "centre": False,
        "scale": False,
        "clip": 0.0,
        "penalty": 0.004,
        "resample_at": (0.025, 0.05, 0.075, 0.1),
        "sample": 819_200,
    },
)
