"""Whether learned features are about different true ones."""

from __future__ import annotations

import numpy as np

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share

MATCHED = False


def measure(case: Case) -> dict[str, Estimate]:
    """``uniqueness``: the share of learned features whose nearest true feature is no other's nearest.

    Of the features that are active in the rows; nearest by absolute cosine, without a matching. SynthSAEBench
    (2602.14687) divides the distinct nearest true features by all learned ones instead: of two copies that share one
    it counts one, this counts none. Interval over features.
    """
    nearest = case.cosines[case.alive].argmax(1)
    return {"uniqueness": share(np.bincount(nearest, minlength=case.world.n_true)[nearest] == 1)}
