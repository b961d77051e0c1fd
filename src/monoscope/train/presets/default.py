"""What ``ms.fit`` does unasked: BatchTopK (Bussmann et al. 2024) at k = 32 with AuxK.

The rate, its warm-up and its decay are Monoscope's own. ``monoscope train`` without a preset differs in one thing: it
trains ``topk``.
"""

from __future__ import annotations

from monoscope.train.presets import Preset

PRESET = Preset(
    architecture="batch_topk",
    batch_size=4096,
    rate=2e-3,
    warmup=0.05,
    decay=0.2,
    k=32,
)
