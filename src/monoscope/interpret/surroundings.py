"""In how many different surroundings a feature is on: text that many files share word for word counts once.

The header of generated files or a licence stands in hundreds of documents. Whatever a model does there it does each
time, one with random weights too, so a label of it holds on held-out text without telling anything of the rest.
"""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Int, UInt64

BEFORE, AFTER = 8, 1  # tokens around a token that are its surroundings, within its document
_MIX = np.uint64(0x9E3779B97F4A7C15)


def surroundings(tokens: Int[np.ndarray, " n"], documents: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """A number for each token that two tokens share if what stands around them, and they themselves, are the same.

    Args:
        tokens: spellings, from 0, document by document.
        documents: the document of each token; those of one document are neighbours.
    """
    n = len(tokens)
    spelled, mixed = tokens.astype(np.uint64) + np.uint64(1), np.zeros(n, np.uint64)
    for shift in range(-BEFORE, AFTER + 1):
        wanted = np.arange(n) + shift
        there = wanted.clip(0, n - 1)
        inside = (wanted == there) & (documents == documents[there])
        seen = np.where(inside, spelled[there], np.uint64(0))
        mixed = (mixed + seen) * _MIX
        mixed ^= mixed >> np.uint64(29)
    return mixed


@numba.njit(cache=True, nogil=True)
def distinct(
    around: np.ndarray, offsets: np.ndarray, rows: np.ndarray, buckets: np.ndarray, least: np.ndarray, enough: int
) -> np.ndarray:
    """The different surroundings in which each feature is on at its threshold; counted up to ``enough``.

    Args:
        around: ``surroundings`` of every row.
        offsets, rows, buckets: the entries of each feature, as ``search`` takes them.
        least: the bucket of each feature's threshold.
        enough: where there are more, this many are counted.
    """
    found, seen = np.zeros(len(least), dtype=np.int64), np.empty(enough, dtype=np.uint64)
    for i in range(len(least)):
        n = 0
        for e in range(offsets[i], offsets[i + 1]):
            if n == enough:
                break
            if buckets[e] < least[i] or buckets[e] == 255:
                continue
            new = True
            for k in range(n):
                new &= seen[k] != around[rows[e]]
            if new:
                seen[n] = around[rows[e]]
                n += 1
        found[i] = n
    return found
