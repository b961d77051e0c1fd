"""Absorption: a child's feature speaks for the parent, and the parent's own feature falls silent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth._case import Case, mixture, share

PART = 0.4  # of what the parent writes, as in arXiv 2409.14507
MATCHED = True


def measure(case: Case) -> dict[str, Estimate]:
    """``absorption``: the share of parents' firings that are absorbed.

    In the spirit of arXiv 2409.14507, with the truth in place of probes. A firing of a parent p is absorbed when p's
    matched feature is silent in the row, and the matched feature of a descendant c that fires there is active and
    writes at least 0.4 of what p writes (its value times its direction's length): its activation times the coefficient
    of p's direction when its own direction is decomposed, by least squares, into those of c and p. Only parents and
    descendants whose match has an absolute cosine of at least 0.5 count. The share is over all firings of such parents;
    the interval is over parents.
    """
    found = case.matching.found
    stands = np.full(case.code.n_features, -1)
    stands[case.matching.learned[found]] = found
    written = case.truth.values * case.world.directions.norm(dim=1)[case.truth.indices.long()]
    firings, absorbed = _count(
        case.truth.offsets.numpy(),
        case.truth.indices.numpy(),
        written.numpy(),
        case.code.offsets.numpy(),
        case.code.indices.numpy(),
        case.code.values.numpy(),
        stands,
        *above(case, found),
    )
    parents = np.intersect1d(case.world.parents[case.world.parents >= 0], found)
    return {"absorption": share(absorbed[parents], firings[parents])}


def above(
    case: Case, found: Int[np.ndarray, " n_found"]
) -> tuple[Int[np.ndarray, " n_true_plus_1"], Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Each true feature's ancestors among ``found``, and how much of their direction its match's direction holds."""
    here = set(found.tolist())
    lists = [[a for a in chain if a in here] if c in here else [] for c, chain in enumerate(case.world.ancestors())]
    counts = [len(chain) for chain in lists]
    ancestors = np.array([a for chain in lists for a in chain], np.int64)
    children = np.repeat(np.arange(len(lists)), counts)
    return np.cumsum([0, *counts]), ancestors, mixture(case, children, ancestors)[1]


@njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]
    true_offsets, true_indices, true_values, offsets, indices, values, stands, starts, ancestors, held
):
    """Firings and absorbed firings of each true feature."""
    n_true = len(starts) - 1
    firings, absorbed = np.zeros(n_true, np.int64), np.zeros(n_true, np.int64)
    said = np.zeros(n_true)  # what each true feature's match says in the row
    spoken_for = np.zeros(n_true)  # the most that a descendant's match writes along each feature
    for row in range(len(offsets) - 1):
        for e in range(offsets[row], offsets[row + 1]):
            if stands[indices[e]] >= 0:
                said[stands[indices[e]]] = values[e]
        for e in range(true_offsets[row], true_offsets[row + 1]):
            child = true_indices[e]
            for a in range(starts[child], starts[child + 1]):
                written = said[child] * held[a]
                spoken_for[ancestors[a]] = max(spoken_for[ancestors[a]], written)
        for e in range(true_offsets[row], true_offsets[row + 1]):
            parent = true_indices[e]
            firings[parent] += 1
            absorbed[parent] += said[parent] == 0 and spoken_for[parent] >= PART * true_values[e]
        for e in range(true_offsets[row], true_offsets[row + 1]):
            spoken_for[true_indices[e]] = 0
        for e in range(offsets[row], offsets[row + 1]):
            if stands[indices[e]] >= 0:
                said[stands[indices[e]]] = 0
    return firings, absorbed
