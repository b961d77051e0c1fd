"""The JumpReLU recipe of Anthropic's January 2025 update, known here but for its opening through third parties' code.

Published: squared error summed over a row; penalty ``Σ tanh(4 f ‖d‖)`` of weight 10 to 20 (here 10), grown over the
whole training; 3e-6 on the scores of features that stay below their threshold; thresholds beginning at 0.1, bandwidth
2; rate 2e-4, falling to 0 over the last fifth; gradients clipped to norm 1; batches of 32,768 rows; no AuxK. Entries of
the decoder begin between ``±1/√n``, the encoder at ``n/m`` times it, and biases such that each of the m features fires
on 10,000/m of the rows.

Not reproduced: decoder rows begin in all directions alike, as long as theirs are on average; where m is below 20,000,
half of the features begin active. Third parties differ on whether thresholds or their logarithms begin at 0.1.
"""

from __future__ import annotations

from monoscope.train.presets import PLAIN, Preset

PRESET = Preset(
    architecture="jumprelu",
    batch_size=32_768,
    rate=2e-4,
    warmup=0.0,
    decay=0.2,
    options={
        **PLAIN,
        "loss_per": "row",
        "decoder_scale": 3**-0.5,  # the root mean square of numbers between −1 and 1
        "encoder_scale": "d_in/n_features",
        "first_active": 10_000,
        "form": "tanh",
        "penalty": 10.0,
        "penalty_warmup": 1.0,
        "preact": 3e-6,
        "bandwidth": 2.0,
        "threshold": 0.1,
        "threshold_rate": 1.0,
        "auxk": 0.0,
    },
)
