"""*Scaling and evaluating sparse autoencoders* (Gao et al. 2024), as in the code that came with it.

Published: k = 32, AuxK of weight 1/32 for features silent over 10 million tokens, a constant rate of 1e-4, batches of
131,072 rows, unit decoder rows, encoder tied to the decoder at the beginning; each row less its own mean and brought to
one length, in which errors are measured too, so that long rows count no more than short ones.

Not reproduced: AuxK uses half as many features as the output is wide, where theirs uses 256 or 512; normalised rows are
centred by their mean, where their decoder's bias begins at the geometric median; Adam's epsilon is not 6.25e-10;
gradients are clipped.
"""

from __future__ import annotations

from monoscope.train.presets import PLAIN, Preset

PRESET = Preset(
    architecture="topk",
    batch_size=131_072,
    rate=1e-4,
    warmup=0.0,
    decay=0.0,
    k=32,
    options={
        **PLAIN,
        "auxk": 1 / 32,
        "dead_after": 10_000_000,
        "encoder_scale": 1.0,
        "row_norm": True,
    },
)
