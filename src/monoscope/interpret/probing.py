"""k-sparse probing beside a dense probe, over concepts whose truth is known (Gurnee et al. 2023, arXiv 2305.01610).

For each concept the ``k`` features are chosen whose mean activation differs most between fit tokens with and without
it; a logistic regression on these, fitted on fit tokens, is judged on test tokens by AUROC and by F1 at the threshold
that is best on the fit tokens. The same regression on the raw activations is the dense probe: what a feature has to be
worth. Intervals resample test documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numba
import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from monoscope.concepts import ConceptBits
from monoscope.evaluate.intervals import Estimate, Resamples, Sampled
from monoscope.interpret import logistic
from monoscope.interpret.coverage import LEAST_ROWS
from monoscope.interpret.explainers.concepts import Index

SIZES = (1, 5)
RESAMPLES = 200


@dataclass(frozen=True)
class Tokens:
    """Some tokens: their rows in the index, ascending, the document of each, and which concepts hold."""

    rows: Int[np.ndarray, " n"]
    slots: Int[np.ndarray, " n"]
    holds: Bool[np.ndarray, "n n_concepts"]

    @classmethod
    def of(cls, bits: ConceptBits, concepts: Sequence[int], rows: Int[np.ndarray, " n"]) -> Tokens:
        """The tokens of these rows."""
        held = np.stack([_holds(bits, c, rows) for c in concepts], 1)
        return cls(rows, np.unique(bits.slots[rows], return_inverse=True)[1], held)


def frequent(
    bits: ConceptBits, among: Sequence[int], fit: Int[np.ndarray, " n"], test: Int[np.ndarray, " m"], number: int
) -> list[int]:
    """``number`` concepts, evenly chosen by frequency, of those that hold often enough among both draws of tokens."""
    counts = {c: min(_fewer(_holds(bits, c, fit)), _fewer(_holds(bits, c, test))) for c in among}
    enough = sorted((c for c, n in counts.items() if n >= LEAST_ROWS // 4), key=lambda c: -counts[c])
    places = np.unique(np.linspace(0, len(enough) - 1, min(number, len(enough))).round().astype(int))
    return [enough[i] for i in places]


def _holds(bits: ConceptBits, concept: int, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """A concept on some rows, without asking all of them."""
    return (bits.words[rows, concept // 64] >> np.uint64(concept % 64)) & np.uint64(1) != 0


def _fewer(mask: Bool[np.ndarray, " n"]) -> int:
    """How often it holds, or does not, whichever is rarer."""
    return min(int(mask.sum()), int((~mask).sum()))


def probe_features(index: Index, fit: Tokens, test: Tokens, size: int, seed: int = 0) -> dict[str, Sampled]:
    """``auroc`` and ``f1`` of probes of ``size`` features each, averaged over concepts."""
    differences = _differences(index, fit)
    scores = []
    for c in range(fit.holds.shape[1]):
        chosen = np.argsort(-np.abs(differences[:, c]), kind="stable")[:size]
        x, x_test = (np.stack([values(index, int(f), t.rows) for f in chosen], 1) for t in (fit, test))
        scores.append(_scores(x, x_test, fit.holds[:, [c]]))
    return judge(np.concatenate([s[0] for s in scores], 1), np.concatenate([s[1] for s in scores], 1), fit, test, seed)


def probe_activations(
    x: Float[np.ndarray, "n d"], x_test: Float[np.ndarray, "m d"], fit: Tokens, test: Tokens, seed: int = 0
) -> dict[str, Sampled]:
    """The dense probe: the same numbers from raw activations."""
    return judge(*_scores(x, x_test, fit.holds), fit, test, seed)


def _scores(x: np.ndarray, x_test: np.ndarray, holds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = logistic.fit(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(holds))
    return found.scores(torch.from_numpy(x)).numpy(), found.scores(torch.from_numpy(x_test)).numpy()


def _differences(index: Index, fit: Tokens) -> Float[np.ndarray, "n_features n_concepts"]:
    """Mean activation where a concept holds less that where it does not."""
    n = len(index.offsets) - 1
    total, held = np.zeros(n), np.zeros((n, fit.holds.shape[1]))
    for f in range(n):
        here = values(index, f, fit.rows)
        on = np.flatnonzero(here)
        total[f], held[f] = here[on].sum(), here[on].astype(np.float64) @ fit.holds[on]
    positives = fit.holds.sum(0)
    return held / positives - (total[:, None] - held) / (len(fit.rows) - positives)


def values(index: Index, feature: int, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A feature's value on some rows, 0 where it is off."""
    part = slice(int(index.offsets[feature]), int(index.offsets[feature + 1]))
    mine, found = np.asarray(index.rows[part]), np.zeros(len(rows), np.float32)
    if len(mine):
        place = np.minimum(np.searchsorted(mine, rows), len(mine) - 1)
        hit = mine[place] == rows
        found[hit] = np.asarray(index.values[part][place[hit]], dtype=np.float32)
    return found


def judge(
    fit_scores: Float[np.ndarray, "n n_concepts"],
    scores: Float[np.ndarray, "m n_concepts"],
    fit: Tokens,
    test: Tokens,
    seed: int,
) -> dict[str, Sampled]:
    """AUROC, and F1 at the fit tokens' best threshold, averaged over concepts, on all and on resampled documents."""
    n = int(test.slots.max()) + 1
    weights = np.concatenate([np.ones((1, n)), *Resamples(n, seed, RESAMPLES).weights()])
    areas, f1s = [], []
    for c in range(scores.shape[1]):
        held = test.holds[:, c]
        areas.append(auroc(scores[:, c], held, weights, test.slots))
        said = scores[:, c] >= best_threshold(fit_scores[:, c], fit.holds[:, c])
        hits, both = (np.bincount(test.slots, v, n) for v in (held & said, held.astype(float) + said))
        f1s.append(2 * (weights @ hits) / np.maximum(weights @ both, 1e-30))
    means = {name: np.nanmean(np.stack(v), 0) for name, v in (("auroc", areas), ("f1", f1s))}
    return {name: Sampled(float(v[0]), v[1:], n) for name, v in means.items()}


def auroc(
    scores: Float[np.ndarray, " n"],
    holds: Bool[np.ndarray, " n"],
    weights: Float[np.ndarray, "r n_documents"],
    slots: Int[np.ndarray, " n"],
) -> Float[np.ndarray, " r"]:
    """The area under the ROC curve for each weighting of documents, ties counted half; NaN where it has no sense."""
    order = np.argsort(scores, kind="stable")
    ends = np.append(scores[order][1:] != scores[order][:-1], True)  # the last of each run of equal scores
    return _areas(holds[order], slots[order], ends, weights)


@numba.njit(cache=True, nogil=True)
def _areas(holds: np.ndarray, slots: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Walk up the scores: each positive wins over the negatives below it, and half over those at its own score."""
    areas = np.empty(len(weights))
    for r in range(len(weights)):
        won = below = positives = here_positive = here_negative = 0.0
        for i in range(len(holds)):
            w = weights[r, slots[i]]
            if holds[i]:
                here_positive += w
            else:
                here_negative += w
            if ends[i]:
                won += here_positive * (below + 0.5 * here_negative)
                below += here_negative
                positives += here_positive
                here_positive = here_negative = 0.0
        areas[r] = won / (positives * below) if positives * below > 0 else np.nan
    return areas


def best_threshold(scores: Float[np.ndarray, " n"], holds: Bool[np.ndarray, " n"]) -> float:
    """The score from which on saying "it holds" has the best F1."""
    order = np.argsort(-scores, kind="stable")
    hits, said = np.cumsum(holds[order]), np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (said + holds.sum())
    last = np.append(scores[order][1:] != scores[order][:-1], True)  # ties are said together
    return float(scores[order][np.argmax(np.where(last, f1, -1))])


def as_estimates(found: Mapping[str, Sampled]) -> dict[str, Estimate]:
    """The numbers with their intervals."""
    return {name: s.estimate() for name, s in found.items()}
