"""Splits by document, with near-duplicates kept together."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from monoscope.errors import MonoscopeError

LARGE = 0.02  # a cluster above this share of all bytes goes to the largest split, or it would distort a small one


def assign(
    names: Sequence[str],
    sizes: Sequence[int],
    clusters: Int[np.ndarray, " n"],
    fractions: Mapping[str, float],
    *,
    seed: int = 0,
) -> list[str]:
    """The split of each document.

    A cluster's split follows from a hash of its first document's name and ``seed`` alone, so that adding documents
    elsewhere moves nothing.

    Args:
        names, sizes: each document's name and number of bytes.
        clusters: for each document, the index of its cluster's first document (``near_duplicates.clusters``).
        fractions: split → share of the clusters; the shares add up to 1.
        seed: changes every draw.
    """
    if abs(sum(fractions.values()) - 1) > 1e-9:
        raise MonoscopeError(f"the shares of the splits add up to {sum(fractions.values())}, not to 1")
    weight = np.bincount(clusters, weights=np.asarray(sizes, dtype=np.float64), minlength=len(names))
    limit = LARGE * weight.sum() if len(names) > 100 else np.inf
    largest = max(fractions, key=lambda s: fractions[s])
    edges = np.cumsum(list(fractions.values()))
    labels = list(fractions)

    def of_cluster(first: int) -> str:
        if weight[first] > limit:
            return largest
        draw = zlib.crc32(f"{seed}:{names[first]}".encode()) / 2**32
        return labels[min(int(np.searchsorted(edges, draw, side="right")), len(labels) - 1)]

    chosen = {int(first): of_cluster(int(first)) for first in np.unique(clusters)}
    return [chosen[int(c)] for c in clusters]
