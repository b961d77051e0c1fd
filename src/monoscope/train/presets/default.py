"""What ``ms.fit``, ``monoscope train`` and the quickstart do unasked: BatchTopK (Bussmann et al. 2024) at k = 32.

The rate follows from the number of steps and features (``schedules.usual_rate``); it, its warm-up and decay, and how
encoder, decoder and biases descend (``Descent``) are Monoscope's own.
"""

from __future__ import annotations

from monoscope.train.presets import Preset

PRESET = Preset(
    architecture="batch_topk",
    batch_size=None,
    warmup=0.05,
    decay=0.2,
    k=32,
)
