"""The precision in which values are recorded, and in which every rule sees them.

Recordings hold fp16. A rule that saw more live than was recorded could raise an alarm that the recording cannot
explain, so ``Monitor`` rounds what it is given in the same way: alarms do not depend on whether a recorder is there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

LARGEST = float(np.finfo(np.float16).max)


def rounded(values: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Values as fp16, to nearest; those beyond ±65,504 become that. NaN stays NaN."""
    return values.clip(-LARGEST, LARGEST).astype(np.float16)
