"""How much of the rows is not explained: the measure that says little about the truth, beside those that do."""

from __future__ import annotations

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share
from monoscope.evaluate.truth.l0 import grouped

MATCHED = False


def measure(case: Case) -> dict[str, Estimate]:
    """``fvu``: ``Σ‖x − x̂‖² / Σ‖x − x̄‖²`` over the rows. Interval over rows, in groups of 256."""
    x = case.x.double()
    left = (x - case.reconstruction.double()).square().sum(1)
    spread = (x - x.mean(0)).square().sum(1)
    return {"fvu": share(grouped(left.numpy()), grouped(spread.numpy()))}
