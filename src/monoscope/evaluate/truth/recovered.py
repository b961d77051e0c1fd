"""How many of the true features were found."""

from __future__ import annotations

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, share

ENOUGH = 0.9
MATCHED = True


def measure(case: Case) -> dict[str, Estimate]:
    """Shares of the true features whose match has an absolute cosine of at least 0.9.

    ``recovered`` counts all true features alike, ``recovered_by_frequency`` each by how often it fires: the share of
    all firings that are of recovered features. Features without a match are not recovered. Intervals over features.
    """
    hit = case.matching.cosine >= ENOUGH
    weight = case.world.frequencies
    return {"recovered": share(hit), "recovered_by_frequency": share(hit * weight, weight)}
