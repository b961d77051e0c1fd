"""How well each learned feature says when the true feature that it is nearest to fires."""

from __future__ import annotations

import numpy as np

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share
from monoscope.evaluate.truth.f1 import detections, f1_above

MATCHED = False


def measure(case: Case) -> dict[str, Estimate]:
    """``f1_of_learned``: F1 of "the learned feature is active" for "its nearest true feature fires".

    The mean over the features that are active in the rows; nearest by absolute cosine. SynthSAEBench (2602.14687)
    reports the like over all learned features, of which silent ones score 0: where many are silent its number is lower.
    Several learned features may stand for one true feature here, and true features that none is
    near do not count. Interval over features.
    """
    alive = np.flatnonzero(case.alive)
    nearest = case.cosines[alive].argmax(1)
    return {"f1_of_learned": share(f1_above(np.zeros(len(alive)), *detections(case.code, case.truth, alive, nearest)))}
