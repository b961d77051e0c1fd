"""The autoencoder of Anthropic's April 2024 update and *Scaling Monosemanticity* (Templeton et al. 2024).

Published: squared error summed over a row; penalty 5 on activations times decoder norms, grown over the first twentieth
of the training; rate 5e-5, falling to 0 over the last fifth; gradients clipped to norm 1; 200,000 steps of 2,048 to
4,096 rows; no resampling; decoder rows of norm 0.1 in random directions, encoder tied to the decoder, biases 0.

Codes begin a hundredth as large as rows, so a training of few steps spends most of them on growing, and leaves far more
than one whose weights begin as Monoscope's do.

Not reproduced: nothing beyond what all presets share.
"""

from __future__ import annotations

from monoscope.train.presets import PLAIN, Preset

PRESET = Preset(
    architecture="l1",
    batch_size=4096,
    rate=5e-5,
    warmup=0.0,
    decay=0.2,
    options={
        **PLAIN,
        "loss_per": "row",
        "decoder_scale": 0.1,
        "encoder_scale": 1.0,
        "penalty": 5.0,
        "penalty_warmup": 0.05,
    },
)
