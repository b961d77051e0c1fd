"""How features, search hits and whole catalogues show themselves in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from monoscope import notebook
from monoscope.markup import Child, Markup
from monoscope.notebook import QUIET, ROW, SMALL, card, label, literal, meter, percent, section, signed, styled, tokens

if TYPE_CHECKING:
    from monoscope.catalogue.records import FeatureRecord, Hit, TokenWeight
    from monoscope.catalogue.store import Catalogue

EXAMPLES, TOKENS, BEST = 5, 8, 8
AROUND = (16, 10)
KINDS = {"context": "contextual", "token": "token"}
COLUMNS = "label, its F1, share of tokens on which the feature fires"


def feature(found: FeatureRecord, catalogue: Catalogue | None) -> str:
    """A feature's record; with its examples where its catalogue is at hand."""
    told = found.label
    facts = [f"fires on {percent(found.density)} of tokens", f"maximum {found.max:.2f}"]
    if told is not None:
        facts.insert(0, f"F1 {told.f1:.2f} ({told.f1_low:.2f} to {told.f1_high:.2f}), {KINDS[told.kind]} label")
    if found.loss_effect is not None:
        facts.append(f"loss when removed {found.loss_effect:+.3f} nats".replace("-", "−"))
    words = label(told.words, told.f1) if told is not None else label("")
    heading = [styled(f"{QUIET};font-weight:400", f"#{found.id}  ", tag="span"), words]
    counts = found.histogram.counts
    return card(
        heading,
        facts,
        section("Activations", notebook.histogram(counts, f"Histogram of activations up to {found.max:.2f}"))
        if any(counts)
        else None,
        _examples(found, catalogue) if catalogue is not None else None,
        _weights("Promotes", found.promoted),
        _weights("Suppresses", found.suppressed),
        _weights("Strongest on", found.top_tokens_by_mean),
    )


def _examples(found: FeatureRecord, catalogue: Catalogue) -> Markup | None:
    lines = []
    for example in next(iter(found.examples.values()), [])[:EXAMPLES]:
        around = catalogue.excerpt(example.document, example.position, *AROUND, feature=found.id)
        target = example.position - around[0].position
        shown = [(t.text, t.value, t.value / (found.max or 1.0)) for t in around]
        lines.append(styled(ROW, styled("flex:1", tokens(shown, target=target)), _number(f"{example.value:.2f}")))
    return section("Where it fires most", lines) if lines else None


def _weights(title: str, found: Sequence[TokenWeight]) -> Markup | None:
    if not found:
        return None
    chips: list[Child] = []
    for t in found[:TOKENS]:
        chips += [literal(t.text), styled(f"{QUIET};{SMALL}", f" {signed(t.weight)}   ", tag="span")]
    return section(title, styled("white-space:pre-wrap;line-height:1.7", chips))


def hits(found: Sequence[Hit]) -> str:
    """What a search found."""
    count = f"{len(found):,} {'feature' if len(found) == 1 else 'features'}"
    return card(count, [COLUMNS], [_row(h.id, h.label, h.label_f1, h.density) for h in found])


def _row(index: int, words: str, f1: float, density: float) -> Markup:
    known = math.isfinite(f1)
    return styled(
        ROW,
        styled(f"{QUIET};{SMALL};min-width:4em", f"#{index}", tag="span"),
        styled("flex:1;overflow-wrap:anywhere", label(words, f1), tag="span"),
        styled(f"{SMALL};white-space:nowrap", meter(f1) if known else "", f" {f1:.2f}" if known else "–", tag="span"),
        _number(percent(density)),
    )


def _number(text: str) -> Markup:
    style = f"{QUIET};{SMALL};min-width:4.6em;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
    return styled(style, text, tag="span")


def catalogue(found: Catalogue) -> str:
    """A catalogue: of what, how much of it is alive and labelled, and the features whose labels are tested best."""
    columns: Any = found.features
    facts = found.facts
    alive = int((columns["density"] > 0).sum())
    kinds = np.asarray(columns["label_kind"])
    low = np.nan_to_num(np.asarray(columns["label_f1_low"], dtype=float), nan=-1.0)
    order = np.lexsort((-low, kinds != "context"))
    best = [i for i in order.tolist()[:BEST] if kinds[i]]
    names = ("label", "label_f1", "density")
    rows = [_row(i, *(columns[name][i].item() for name in names)) for i in best]
    return card(
        f"{len(found):,} features of {facts['model']} at {facts['site']}",
        [
            facts["architecture"].replace("_", " "),
            f"{facts['n_tokens']:,} tokens of {facts['n_documents']:,} documents",
            f"{alive:,} alive",
            f"{int((kinds == 'context').sum()):,} contextual and {int((kinds == 'token').sum()):,} token labels",
        ],
        section(f"Best tested: {COLUMNS}", rows) if rows else None,
    )
