"""Labels that are concepts, chosen by F1 on some documents and tried on others.

For every feature two labels are chosen on the fit documents: the best *token label* (a set of at most 8 tokens) and the
best *claim* (at most three literals joined by and, and not, or; a literal is a concept, or a set of at most 8 tokens
at a place such as the token before), each with its threshold ``t``: the feature counts as on above ``t ·`` its maximum
on the fit documents. ``search`` says how the number of literals is decided. Both are tried on the test documents. A
feature is labelled with the concept, as a *contextual* label, when that beats the token label there by ``MARGIN`` of F1
and the feature is on at ``LEAST_SUPPORT`` test tokens of different ``surroundings`` in ``LEAST_DOCUMENTS`` documents;
else with the tokens. So that a mere change of threshold does not pass for context, the concept must beat the best set
of tokens at its own threshold as well; and, so that being on often does not, the claim that holds on every token.

``shuffled`` is the control: the same search over activations that are shifted, feature by feature, along the rows of
their split. What it finds is what the search finds in noise of the same density and burstiness.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.records import Label
from monoscope.concepts import Concept, ConceptBits, compile_bits
from monoscope.errors import MonoscopeError
from monoscope.interpret import wording
from monoscope.interpret.claims import Claims, chosen, token_claims
from monoscope.interpret.evidence import Evidence, gather
from monoscope.interpret.explainers import FIRES_ON, Task, Told
from monoscope.interpret.search import bucketed, search
from monoscope.interpret.surroundings import distinct
from monoscope.interpret.trial import Verdict, judge, tally
from monoscope.text.rows import Rows

MARGIN = 0.05
LEAST_SUPPORT = 50
LEAST_DOCUMENTS = 10
LEAST_ROWS = 20  # fit rows on which a feature must fire to be labelled at all
LEAST_F1 = 0.2  # on the fit rows: below it, no label says more than none
_BATCH = 1 << 22  # entries searched at once by one thread


class Index(Protocol):
    """Which features fire on which rows: feature ``f`` on ``rows[offsets[f]:offsets[f + 1]]``, with ``values``."""

    @property
    def offsets(self) -> Int[np.ndarray, " n_features_plus_1"]:
        """Where each feature's entries begin."""

    @property
    def rows(self) -> Int[np.ndarray, " n_entries"]:
        """The row of each entry."""

    @property
    def values(self) -> Float[np.ndarray, " n_entries"]:
        """The value of each entry, above 0."""


class Explainable(Protocol):
    """A catalogue, as far as labels are concerned: an index over rows of the splits ``fit`` and ``test``."""

    @property
    def index(self) -> Index:
        """Which features fire where."""

    @property
    def rows(self) -> Rows:
        """The rows that the index speaks of."""


@dataclass(frozen=True)
class _Part:
    """The entries of some features on the rows of one split, rows numbered within the split."""

    offsets: Int[np.ndarray, " n_plus_1"]
    rows: Int[np.ndarray, " m"]
    values: Float[np.ndarray, " m"]

    def only(self, kept: Int[np.ndarray, " n_kept"]) -> _Part:
        """The entries of some of the features."""
        sizes = np.diff(self.offsets)
        mask = np.repeat(np.isin(np.arange(len(sizes)), kept), sizes)
        return _Part(np.concatenate([[0], np.cumsum(sizes[kept])]), self.rows[mask], self.values[mask])


_Shift = Callable[[int, int], int]  # (feature, rows of the split) → by how much to shift the feature's rows


def explain(
    catalogue: Explainable,
    concepts: Sequence[Concept] | ConceptBits | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda features: None,
) -> list[Label]:
    """Label every feature that fires on enough of the fit documents.

    Args:
        catalogue: what to label.
        concepts: what labels are made of; all concepts when None. Bits compiled over the catalogue's rows
            (``compile_bits``) spare compiling them again.
        seed: of the resampled documents.
        progress: told how many features have been done, batch by batch.

    Raises:
        MonoscopeError: a split is empty, or the bits were compiled over other rows.
    """
    return _labels(catalogue, concepts, seed, lambda feature, n: 0, progress)


def shuffled(
    catalogue: Explainable,
    concepts: Sequence[Concept] | ConceptBits | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda features: None,
) -> list[Label]:
    """The control: the labels that the same search finds when every feature's rows are shifted by a random amount.

    The shift is circular within each split, so that a feature keeps its values, its density and how it clusters, and
    loses only its tie to the text.
    """

    def shift(feature: int, n: int) -> int:
        return int(np.random.default_rng((seed, feature)).integers(n // 8, n - n // 8))

    return _labels(catalogue, concepts, seed, shift, progress)


ASKS = False
ANSWERS = (FIRES_ON,)
TOLD = ("concept", "kind", "threshold", "precision", "recall", "f1", "f1_low", "f1_high")


def explanations(task: Task) -> Iterator[Told]:
    """The labels of the task's features as explanations; how well each is borne out is in ``detail``."""
    labels = {label.feature: label for label in explain(task.catalogue, seed=task.seed)}
    shared = {"catalogue": task.catalogue.facts["key"], "asked": [FIRES_ON], "seed": task.seed}
    found = [
        Explanation(f, "concepts", labels[f].words, detail=shared | {name: getattr(labels[f], name) for name in TOLD})
        for f in task.features
        if f in labels
    ]
    yield Told(found, {f: "no concept says more of it than none" for f in task.features if f not in labels})


def counts(labels: Sequence[Label], levels: Sequence[float] = (0.5, 0.8)) -> dict[str, dict[float, int]]:
    """How many token and contextual labels reach each level of held-out F1."""
    return {
        kind: {level: sum(label.kind == kind and label.f1 >= level for label in labels) for level in levels}
        for kind in ("token", "context")
    }


def _labels(
    catalogue: Explainable,
    concepts: Sequence[Concept] | ConceptBits | None,
    seed: int,
    shift: _Shift,
    progress: Callable[[int], None],
) -> list[Label]:
    bits = concepts if isinstance(concepts, ConceptBits) else compile_bits(catalogue.rows, concepts)
    if len(bits) != len(catalogue.rows):
        raise MonoscopeError(
            f"the concepts were compiled over {len(bits)} rows, the catalogue has {len(catalogue.rows)}",
            fix="compile them over the catalogue's own rows",
        )
    evidence = gather(bits, catalogue.rows.in_split("fit"), catalogue.rows.in_split("test"))
    batches = _batches(catalogue.index.offsets)
    done: list[Label] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        for features, labels in zip(
            batches,
            pool.map(lambda batch: _explain(evidence, catalogue.index, batch, seed, shift), batches),
            strict=True,
        ):
            done += labels
            progress(len(features))
    return done


def _batches(offsets: Int[np.ndarray, " n_features_plus_1"]) -> list[range]:
    """Runs of features with about ``_BATCH`` entries, at least one feature each."""
    n = len(offsets) - 1
    batches, first = [], 0
    while first < n:
        last = int(np.searchsorted(offsets, offsets[first] + _BATCH, side="right")) - 1
        last = min(max(first + 1, last), first + 256, n)
        batches.append(range(first, last))
        first = last
    return batches


def _explain(evidence: Evidence, index: Index, features: range, seed: int, shift: _Shift) -> list[Label]:
    fit = _entries(index, features, evidence.fit.number, shift)
    maxima = _maxima(fit)
    found = search(evidence.fit, fit.offsets, fit.rows, bucketed(fit.values, fit.offsets, maxima))
    best = np.maximum(found.chosen.max(0), found.token_f1)
    kept = np.flatnonzero((np.diff(fit.offsets) >= LEAST_ROWS) & (best >= LEAST_F1))  # the others get no label
    test = _entries(index, features, evidence.test.number, shift).only(kept)
    buckets = bucketed(test.values, test.offsets, maxima[kept])
    context = chosen(found.claims, found.length).only(kept)
    token_bucket = found.token_bucket[kept]
    claims = (
        context,
        token_claims(found.tokens[kept, token_bucket], token_bucket),
        token_claims(found.tokens[kept, context.bucket], context.bucket),
    )
    said = [judge(tally(evidence.test, claim, test.offsets, test.rows, buckets), seed) for claim in claims]
    on = np.diff(test.offsets)
    always = 2 * on / (on + len(evidence.test.documents))  # F1 of saying yes to every token
    baseline = np.maximum.reduce([said[1].f1, said[2].f1, always])
    around = distinct(evidence.test.around, test.offsets, test.rows, buckets, context.bucket, LEAST_SUPPORT)
    supported = (around >= LEAST_SUPPORT) & (said[0].documents >= LEAST_DOCUMENTS)
    is_context = supported & (said[0].f1 >= baseline + MARGIN)
    kinds = {True: ("context", context, said[0], baseline), False: ("token", claims[1], said[1], said[1].f1)}
    return [_label(evidence.bits, features[f], i, *kinds[bool(is_context[i])]) for i, f in enumerate(kept)]


def _entries(index: Index, features: range, number: Int[np.ndarray, " n_rows"], shift: _Shift) -> _Part:
    """The features' entries on the rows of one split."""
    first, last = int(index.offsets[features.start]), int(index.offsets[features.stop])
    rows = number[np.asarray(index.rows[first:last])]
    kept: Bool[np.ndarray, " m"] = rows >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    offsets = before[np.asarray(index.offsets[features.start : features.stop + 1]) - first]
    rows = rows[kept].astype(np.int64)
    n = int(number.max()) + 1
    for i, feature in enumerate(features):
        if moved := shift(feature, n):
            part = slice(offsets[i], offsets[i + 1])
            rows[part] = (rows[part] + moved) % n
    return _Part(offsets, rows, np.asarray(index.values[first:last])[kept].astype(np.float32))


def _maxima(part: _Part) -> Float[np.ndarray, " n"]:
    """Each feature's largest value; 0 where it never fires."""
    maxima = np.zeros(len(part.offsets) - 1)
    fires = np.flatnonzero(np.diff(part.offsets))
    if len(fires):
        maxima[fires] = np.maximum.reduceat(part.values, part.offsets[fires])
    return maxima


def _label(
    bits: ConceptBits,
    feature: int,
    i: int,
    kind: str,
    claims: Claims,
    verdict: Verdict,
    baseline: Float[np.ndarray, " n"],
) -> Label:
    said = wording.terms(bits, claims, i)
    return Label(
        feature=feature,
        kind=kind,
        concept=wording.in_writing(said),
        words=wording.in_words(said),
        threshold=int(claims.bucket[i]) / 10,
        precision=float(verdict.precision[i]),
        recall=float(verdict.recall[i]),
        f1=float(verdict.f1[i]),
        f1_low=float(verdict.low[i]),
        f1_high=float(verdict.high[i]),
        baseline_f1=float(baseline[i]),
        support=int(verdict.support[i]),
        documents=int(verdict.documents[i]),
    )
