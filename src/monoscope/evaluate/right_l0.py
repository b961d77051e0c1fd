"""Whether a dictionary's L0 looks too low or too high, and how one can tell.

Two kinds of evidence. Within one dictionary: if the best inactive feature would explain a good part of what an active
one does, beyond what the best of as many random directions would, the error holds features that the dictionary knows,
and L0 is too low. Across
dictionaries of one shape but several L0 (Chanin and Garriga-Alonso 2025, arXiv 2508.16560): the decoder's mean pairwise
cosine and what inactive directions see of inputs are least at the right L0, since both ways of being wrong mix
features. The second needs three or more, with the least of them not at an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from monoscope.evaluate.evaluation import Metrics

CLEARLY = 0.1  # of what an active feature explains
CRITERIA = ("decoder_pairwise_cosine", "inactive_projection")
LEAST = 3  # dictionaries in a sweep
SAME = 0.1  # relative difference of L0 below which two are one point of a sweep


@dataclass(frozen=True)
class Verdict:
    """``says`` is "too low", "too high", "about right" or "not known"; ``because`` the evidence in words."""

    says: str
    because: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """``{"says", "because"}``."""
        return {"says": self.says, "because": list(self.because)}


def verdicts(judged: Mapping[str, Metrics], comparable: Container[str]) -> dict[str, Verdict]:
    """A verdict for each dictionary.

    Args:
        judged: the metrics of dictionaries (no controls), from one evaluation.
        comparable: those whose cosines may be compared: of one shape, and each with weights of its own.
    """
    swept = {name: metrics for name, metrics in judged.items() if name in comparable}
    best = {c: least(swept, c) for c in CRITERIA}
    return {name: verdict(metrics, best if name in swept else {}) for name, metrics in judged.items()}


def least(judged: Mapping[str, Metrics], criterion: str) -> float | None:
    """The L0 at which a criterion is least; None where there is no sweep, or the least stands at an end of it."""
    points = [(m["l0"].value, m[criterion].value) for m in judged.values()]
    known = sorted((l0, value) for l0, value in points if l0 is not None and value is not None)
    distinct = known[:1]
    for point in known[1:]:
        if point[0] > distinct[-1][0] * (1 + SAME):  # than the last that counts: a fine sweep is more than one point
            distinct.append(point)
    if len(distinct) < LEAST:
        return None
    place = min(range(len(distinct)), key=lambda i: distinct[i][1])
    return distinct[place][0] if 0 < place < len(distinct) - 1 else None


def verdict(metrics: Metrics, best: Mapping[str, float | None]) -> Verdict:
    """What one dictionary's numbers, and the sweep's best L0 by each criterion, say together."""
    l0, known, over = metrics["l0"].value, metrics["next_feature"], metrics["missed_over_random"].value
    said, because = list[str](), list[str]()
    if known.value is not None and known.low is not None and over is not None:
        enough = known.low > CLEARLY
        said += ["too low"] if enough else []
        because.append(
            f"the next feature would explain {max(0.0, known.value):.0%} of what an active one does "
            f"({over:.1f} times what random directions would of the error)"
        )
    for criterion, at in best.items():
        if at is None or l0 is None:
            continue
        low, high = l0 < at / (1 + SAME), l0 > at * (1 + SAME)
        said.append("too low" if low else "too high" if high else "about right")
        because.append(f"{criterion.replace('_', ' ')} is least at L0 {at:.3g}, this one's is {l0:.3g}")
    if not said:
        because.append("compare three or more dictionaries of one width and several L0 to see whether it is too high")
        return Verdict("not known", tuple(because))
    counts = Counter(said).most_common()
    disagree = len(counts) > 1 and counts[0][1] == counts[1][1]
    return Verdict("not known" if disagree else counts[0][0], (*because, *(["these disagree"] if disagree else [])))
