"""Mean correlation coefficient: how well the decoder's directions match the true ones, one to one."""

from __future__ import annotations

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share

MATCHED = True


def measure(case: Case) -> dict[str, Estimate]:
    """``mcc``: the mean absolute cosine over the ``min(n_features, n_true)`` pairs of the matching that makes it most.

    As in arXiv 2505.20254 and SynthSAEBench (2602.14687): decoder rows against true directions. Dead features count.
    The interval is over pairs.
    """
    return {"mcc": share(case.matching.cosine[case.matching.true])}
