"""The JumpReLU recipe of Anthropic's January 2025 update, known here through third parties' code.

Published: penalty ``Σ tanh(4 f ‖d‖)`` of weight 10 to 20 (here 10), grown over the whole training; 3e-6 on the scores
of features that stay below their threshold; thresholds beginning at 0.1, bandwidth 2; rate 2e-4, batches of 32,768
rows; no AuxK.

Not reproduced: the encoder begins tied at the scale that fits best, where theirs begins at ``n/m`` of the decoder, and
biases at 0, where theirs let about ten thousand features fire on each row; thresholds learn ten times as fast as the
rest. The decay over the last fifth is that of the same group's April 2024 recipe.
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
        "form": "tanh",
        "penalty": 10.0,
        "penalty_warmup": 1.0,
        "preact": 3e-6,
        "bandwidth": 2.0,
        "threshold": 0.1,
        "threshold_rate": 10.0,
        "auxk": 0.0,
    },
)
