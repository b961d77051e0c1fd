"""By an executable concept: features ranked by the F1 with which they fire on its tokens, over the catalogued rows.

A feature counts as on above ``t`` times its maximum; of ``t = 0, 0.1 … 0.9`` the best is taken, as labels do. The F1 is
a description of this text: labels alone are tried on text that had no part in the choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
from jaxtyping import Bool, Float

from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.searching import Found, Query, best, one_text
from monoscope.concepts import Analysed, Lexicon, concept

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue

N_THRESHOLDS = 10
ENTRIES = 1 << 22  # of the index, counted at once


def search(query: Query, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """``query.what`` is an expression that ``monoscope.concept`` takes. Features that never fire on it are left out."""
    expression = one_text(query, "a concept's expression").strip()
    asked = concept(expression)
    if expression not in catalogue.masks:
        lexicon = Lexicon()
        documents = (catalogue.store.document(d) for d in catalogue.rows.documents.tolist())
        masks = [asked.mask(Analysed(document, lexicon)) for document in documents]
        catalogue.masks[expression] = np.concatenate([*masks, np.zeros(0, bool)])
    scores = f1(catalogue.masks[expression], catalogue.index, kept)
    return best(np.where(scores > 0, scores, np.nan), kept, query.limit)


def f1(
    mask: Bool[np.ndarray, " n_rows"], index: FeatureIndex, kept: Bool[np.ndarray, " n_features"] | None
) -> Float[np.ndarray, " n_features"]:
    """Each kept feature's best F1 over the thresholds; 0 for the others."""
    out = np.zeros(len(index))
    positives, asked = int(mask.sum()), np.ones(len(index), bool) if kept is None else kept
    first = 0
    while first < len(index):
        last = int(np.searchsorted(index.offsets, index.offsets[first] + ENTRIES, side="right")) - 1
        last = min(max(first + 1, last), len(index))
        if asked[first:last].any():
            span = slice(int(index.offsets[first]), int(index.offsets[last]))
            values = index.values[span].astype(np.float32)
            offsets, part = index.offsets[first : last + 1], slice(first, last)
            _f1(mask, positives, offsets, index.rows[span], values, asked[part], out[part])
        first = last
    return out


@numba.njit(cache=True, nogil=True)
def _f1(mask, positives, offsets, rows, values, asked, out):  # type: ignore[no-untyped-def]
    """The best F1 of each feature; an entry counts at every threshold that its value is above."""
    for f in range(len(out)):
        first, last = offsets[f] - offsets[0], offsets[f + 1] - offsets[0]
        if not asked[f] or first == last:
            continue
        largest = values[first:last].max()
        edges = np.arange(N_THRESHOLDS) / np.float64(N_THRESHOLDS) * largest
        on, hits = np.zeros(N_THRESHOLDS, np.int64), np.zeros(N_THRESHOLDS, np.int64)
        for e in range(first, last):
            b = 0
            while b < N_THRESHOLDS and values[e] > edges[b]:
                b += 1
            if b > 0:
                on[b - 1] += 1
                hits[b - 1] += mask[rows[e]]
        n, hit = 0, 0
        for b in range(N_THRESHOLDS - 1, -1, -1):
            n, hit = n + on[b], hit + hits[b]
            if hit > 0:
                out[f] = max(out[f], 2.0 * hit / (n + positives))
