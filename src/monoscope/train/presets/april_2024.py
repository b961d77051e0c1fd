"""The autoencoder of Anthropic's April 2024 update and *Scaling Monosemanticity* (Templeton et al. 2024).

Published: penalty 5 on activations times decoder norms, grown over the first twentieth of the training; rate 5e-5,
falling to 0 over the last fifth; 200,000 steps of 2,048 to 4,096 rows; no resampling; encoder tied to the decoder at
the beginning, biases 0.

Not reproduced: decoder rows begin with unit norm and codes with the scale that fits best, where the published rows
begin with norm 0.1; and gradients are clipped to norm 1 of the squared error per number, where the published error is
summed over a row, so that clipping sets in later.
"""

from __future__ import annotations

from monoscope.train.presets import PLAIN, Preset

PRESET = Preset(
    architecture="l1",
    batch_size=4096,
    rate=5e-5,
    warmup=0.0,
    decay=0.2,
    options={**PLAIN, "penalty": 5.0, "penalty_warmup": 0.05},
)
