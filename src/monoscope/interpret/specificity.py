"""Does the label hold more surely the more strongly the feature fires? Specificity by level of activation.

The picture of Bricken et al. 2023 ("Towards Monosemanticity", features as activation spectra), for a feature's own
label: held-out tokens are put into even levels of the feature's value, and each level says on what share of them the
label holds. A label that describes the top examples alone falls off towards the low levels. Ready for a plot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.store import Catalogue
from monoscope.concepts import Analysed, Lexicon, concept
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Totals, bootstrap

LEVELS = 10
DOCUMENTS = 100  # test documents asked: each has to be parsed, and the intervals are over documents


@dataclass(frozen=True)
class Levels:
    """On what share of held-out tokens a feature's label holds, by how strongly the feature fires there.

    Level ``i`` is ``(edges[i], edges[i + 1]]`` in units of the feature's value; levels are even, from 0 to the largest
    value. ``counts[i]`` tokens are in it; the label holds on ``fraction[i]`` of them, with the 95 % interval ``low[i]``
    to ``high[i]`` over resampled documents. An empty level has NaN for all three, one of a single document has NaN for
    its interval. ``silent`` is the same share among the tokens on which the feature does not fire.
    """

    concept: str
    edges: Float[np.ndarray, " n_levels_plus_1"]
    counts: Int[np.ndarray, " n_levels"]
    fraction: Float[np.ndarray, " n_levels"]
    low: Float[np.ndarray, " n_levels"]
    high: Float[np.ndarray, " n_levels"]
    silent: float
    documents: int  # test documents that were asked


def levels(
    catalogue: Catalogue, feature: int, *, n_levels: int = LEVELS, documents: int = DOCUMENTS, seed: int = 0
) -> Levels:
    """Count by level on test documents, which had no part in choosing the label.

    Args:
        catalogue: a catalogue with labels.
        feature: whose label.
        n_levels: how many even levels from 0 to the feature's largest value.
        documents: at most so many test documents are asked, drawn by ``seed`` among those in which the feature fires.
        seed: of the draw and of the resampled documents.

    Raises:
        MonoscopeError: there is no such feature, it has no label, or it never fires in a test document.
    """
    record = catalogue[feature]
    if record.label is None:
        raise MonoscopeError(
            f"feature {feature} has no label", where=str(catalogue.run), fix="label it: monoscope explain RUN"
        )
    chosen = _documents(catalogue, feature, documents, seed)
    expression, lexicon = concept(record.label.concept), Lexicon()
    edges = np.linspace(0, record.max, n_levels + 1)
    holds, counts = (np.zeros((len(chosen), n_levels + 1)) for _ in range(2))  # level 0: where it is silent
    for i, slot in enumerate(chosen.tolist()):
        first, last = catalogue.rows.offsets[slot : slot + 2].tolist()
        document = Analysed(catalogue.store.document(int(catalogue.rows.documents[slot])), lexicon)
        mask: Bool[np.ndarray, " n"] = expression.mask(document)
        values = catalogue.index.dense(feature, first, last)
        level = np.where(values > 0, np.clip(np.searchsorted(edges, values, side="left"), 1, n_levels), 0)
        counts[i] = np.bincount(level, minlength=n_levels + 1)
        holds[i] = np.bincount(level, mask, minlength=n_levels + 1)
    fraction, low, high = _shares(holds[:, 1:], counts[:, 1:], seed)
    return Levels(
        record.label.concept,
        edges,
        counts[:, 1:].sum(0).astype(np.int64),
        fraction,
        low,
        high,
        float(holds[:, 0].sum() / max(1.0, counts[:, 0].sum())),
        len(chosen),
    )


def _documents(catalogue: Catalogue, feature: int, most: int, seed: int) -> Int[np.ndarray, " n"]:
    """Test documents in which the feature fires, by their place among the catalogue's."""
    rows = np.asarray(catalogue.index.of(feature)[0]).astype(np.int64)
    slots = np.unique(np.searchsorted(catalogue.rows.offsets, rows, side="right") - 1)
    names = catalogue.store.splits
    held_out = slots[[names[d] == "test" for d in catalogue.rows.documents[slots].tolist()]]
    if len(held_out) == 0:
        raise MonoscopeError(
            f"feature {feature} fires in no test document", where=str(catalogue.run), fix="catalogue more text"
        )
    if len(held_out) <= most:
        return held_out
    return np.sort(np.random.default_rng(seed).choice(held_out, most, replace=False))


def _shares(
    holds: Float[np.ndarray, "n_documents n_levels"], counts: Float[np.ndarray, "n_documents n_levels"], seed: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Share and interval of every level."""

    def shares(totals: Totals) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore"):
            return {str(i): totals["holds"][:, i] / totals["counts"][:, i] for i in range(counts.shape[1])}

    found = bootstrap({"holds": holds, "counts": counts}, shares, seed)
    several = (counts > 0).sum(0) > 1  # one document says nothing of how documents differ
    columns = [
        [e.value, e.low if more else None, e.high if more else None]
        for e, more in zip(found.values(), several, strict=True)
    ]
    fraction, low, high = np.array(columns, dtype=np.float64).T
    return fraction, low, high
