"""How well the library's own inference reconstructs rows that were not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .trainer import Codes


def judged(run: Callable[[Tensor], Codes], x: np.ndarray, features: int, rows: int = 2048) -> dict[str, Any]:
    """FVU (None where it is not finite), L0 and the share of features that are silent, on these rows."""
    left, entries, alive = 0.0, 0, torch.zeros(features, dtype=torch.bool)
    for first in range(0, len(x), rows):
        part = torch.from_numpy(np.array(x[first : first + rows], dtype=np.float32))
        with torch.no_grad():
            made, active = run(part)
        left += float((part - made).double().square().sum())
        entries += len(active)
        alive[active.long()] = True
    whole = float(np.var(x, axis=0, dtype=np.float64).sum()) * len(x)
    fvu = left / whole if math.isfinite(left) else None
    return {"fvu": fvu, "l0": entries / len(x), "dead": 1 - float(alive.float().mean())}
