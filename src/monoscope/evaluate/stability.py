"""Whether another training finds the same features: PW-MCC (Song et al. 2025, arXiv 2505.20254).

The directions of two dictionaries of one width are matched one to one so that the sum of their cosines is greatest;
PW-MCC is the mean cosine of the matched pairs, and of more than two dictionaries its mean over all pairs. 1 is the same
dictionary in another order. A large dictionary matches well by mere choice, so two random dictionaries of the same
shape stand beside it. Cosines count with their sign: what writes the opposite is another feature.

Intervals resample the features of the first dictionary, each with its matches in all others. A feature that one
training finds badly the others tend to find badly too, so pairs are not resampled each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import RESAMPLES, Estimate, Sampled
from monoscope.ops.assignment import assign

MOST = 16_384  # features: the table of cosines of two such dictionaries takes 2 GB


@dataclass(frozen=True)
class Stability:
    """``pairs[first, second]`` is the PW-MCC of two dictionaries, ``mean`` that of all, ``random`` the control's."""

    pairs: dict[tuple[str, str], Estimate]
    mean: Estimate
    random: Estimate

    def to_json(self) -> dict[str, Any]:
        """``mean``, ``random``, and a list of ``pairs``."""
        pairs = [{"first": a, "second": b, **e.to_json()} for (a, b), e in self.pairs.items()]
        return {"pw_mcc": self.mean.to_json(), "random": self.random.to_json(), "pairs": pairs}


def matched(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The row of ``b`` that each row of ``a`` is matched with, and their cosine; 0 where a direction is 0.

    Raises:
        MonoscopeError: the shapes differ, or there are more than ``MOST`` rows.
    """
    if a.shape != b.shape or len(a) > MOST:
        raise MonoscopeError(
            f"dictionaries of {tuple(a.shape)} and {tuple(b.shape)} are not matched one to one",
            fix=f"compare dictionaries of one shape, of at most {MOST:,} features",
        )
    one, other = (torch.nn.functional.normalize(v.detach().cpu().float(), dim=1) for v in (a, b))
    cosines = (one @ other.T).numpy()
    rows, partners = assign(cosines)
    return partners, cosines[rows, partners].astype(np.float64).clip(-1, 1)  # which rounding may exceed


def stability(
    directions: Mapping[str, Float[Tensor, "n d"]], seed: int = 0, progress: Callable[[int], None] = lambda pairs: None
) -> Stability:
    """PW-MCC of two or more dictionaries of one shape, each pair and all, with the control.

    Args:
        directions: of each dictionary its decoder rows, by name.
        seed: of the resamples and the control.
        progress: called with 1 after each pair. A pair of 4,096 features takes some 2 seconds.

    Raises:
        MonoscopeError: fewer than two dictionaries, or shapes that differ.
    """
    if len(directions) < 2:
        raise MonoscopeError("stability takes two dictionaries or more", fix="train another with another seed")
    first = next(iter(directions))
    n, d = directions[first].shape
    place = {first: np.arange(n)}  # of each dictionary, the features that the first one's are matched with
    pairs = {}
    for a, b in combinations(directions, 2):
        partners, cosines = matched(directions[a], directions[b])
        if a == first:
            place[b] = partners
        pairs[a, b] = _sampled(cosines[place[a]], seed)
        progress(1)
    values = [p.value for p in pairs.values()]
    mean = Sampled(float(np.mean(values)), np.mean([p.drawn for p in pairs.values()], axis=0), n)
    g = torch.Generator().manual_seed(seed)
    _, control = matched(torch.randn(n, d, generator=g), torch.randn(n, d, generator=g))
    estimates = {names: p.estimate() for names, p in pairs.items()}
    return Stability(estimates, mean.estimate(), _sampled(control, seed).estimate())


def _sampled(cosines: Float[np.ndarray, " n"], seed: int) -> Sampled:
    """Their mean, also on resamples: the same ones for as many cosines and the same seed."""
    rng = np.random.default_rng(seed)
    drawn = np.array([cosines[rng.integers(0, len(cosines), len(cosines))].mean() for _ in range(RESAMPLES)])
    return Sampled(float(cosines.mean()), drawn, len(cosines))
