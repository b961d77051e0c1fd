"""*Scaling and evaluating sparse autoencoders* (Gao et al. 2024), as in the code that came with it.

Published: k = 32, AuxK of weight 1/32 by 256 of the features that were silent over 10 million tokens, a constant rate
of 1e-4, batches of 131,072 rows, Adam's epsilon at 6.25e-10, gradients as they are, unit decoder rows, encoder tied to
the decoder at the beginning, the decoder's bias at the rows' geometric median; each row less its own mean and by its
own spread, in which errors are measured too, so that long rows count no more than short ones.

Not reproduced: AuxK takes scores with their sign, where theirs cuts them at 0 and so never moves a feature whose scores
are all negative, and divides by the residual's mean square, not by its variance; the encoder begins as long as the
decoder, where theirs gives random inputs' reconstructions their norm.
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
        "clip": 0.0,
        "epsilon": 6.25e-10,
        "auxk": 1 / 32,
        "auxk_features": 256,
        "dead_after": 10_000_000,
        "encoder_scale": 1.0,
        "decoder_bias": "median",
        "row_norm": True,
        "centre": False,
        "scale": False,
    },
)
