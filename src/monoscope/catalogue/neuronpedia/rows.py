"""One feature as rows of Neuronpedia's tables, and the four rows that say what it is a feature of.

Columns of which the catalogue knows nothing are empty lists or null, and 0 where neither is allowed. Rows of a table
have the same keys, as its importer needs. Ids follow from what a row is: the same catalogue gives the same rows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from monoscope.catalogue.records import Example, FeatureRecord, Label
from monoscope.catalogue.statistics import TOP, groups
from monoscope.catalogue.store import Catalogue
from monoscope.types import Site

AROUND = (40, 23)  # tokens before and after an example's own: 64 in all
CREATOR = "clkht01d40000jv08hvalcvly"  # the user that a new database has
Row = dict[str, Any]


def slug(text: str) -> str:
    """Lower-case letters, digits, dots and dashes: what may stand in an id and in a folder's name."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "unnamed"


@dataclass(frozen=True)
class Source:
    """What the rows belong to: a model, a set of dictionaries, and the one of this layer."""

    model: str
    set: str
    layer: int

    @classmethod
    def of(cls, catalogue: Catalogue) -> Source:
        """The source of a catalogue; a site without a layer counts as layer 0."""
        site = Site.parse(catalogue.facts["site"])
        number = re.search(r"\d+", site.path or "")
        layer = site.layer if site.layer is not None else int(number[0]) if number else 0
        place = site.kind if site.path is None else f"{site.path}-{site.side}"
        name = slug(f"{place}-monoscope-{len(catalogue)}")
        model = next((part for part in reversed(catalogue.facts["model"].split("/")) if part), "model")
        return cls(slug(model), name, layer)

    @property
    def id(self) -> str:
        """The source's own id."""
        return f"{self.layer}-{self.set}"


def about(catalogue: Catalogue, source: Source) -> dict[str, Row]:
    """The rows of ``release``, ``model``, ``sourceset`` and ``source``."""
    facts = catalogue.facts
    words = f"{facts['architecture']} with {len(catalogue):,} features at {facts['site']} of {facts['model']}"
    owned = {"creatorId": CREATOR, "visibility": "PUBLIC"}
    return {
        "release": {"name": source.set, "description": words, "creatorName": "Monoscope", "urls": [], **owned},
        "model": {"id": source.model, "displayName": facts["model"], "displayNameShort": source.model, "layers": 0,
                  "neuronsPerLayer": 0, "instruct": False, "owner": "", "inferenceEnabled": False, **owned},
        "sourceset": {"modelId": source.model, "name": source.set, "description": words, "type": facts["architecture"],
                      "creatorName": "Monoscope", "urls": [], "releaseName": source.set,
                      "hasDashboards": True, **owned},
        "source": {"id": source.id, "modelId": source.model, "setName": source.set, "hasDashboards": True,
                   "inferenceEnabled": False, "dataset": "", "notes": f"{facts['n_tokens']} tokens", **owned},
    }  # fmt: skip


def feature(found: FeatureRecord, source: Source) -> Row:
    """A row of features. Heights of the histogram are numbers of tokens, its values the middles of the bins."""
    edges = found.histogram.edges
    middles = [_short((low + high) / 2) for low, high in pairwise(edges)]
    return {
        "modelId": source.model,
        "layer": source.id,
        "index": str(found.id),
        "creatorId": CREATOR,
        "sourceSetName": source.set,
        "maxActApprox": _short(found.max),
        "frac_nonzero": found.density,
        "pos_str": [t.text for t in found.promoted],
        "pos_values": [_short(t.weight) for t in found.promoted],
        "neg_str": [t.text for t in found.suppressed],
        "neg_values": [_short(t.weight) for t in found.suppressed],
        "freq_hist_data_bar_heights": found.histogram.counts,
        "freq_hist_data_bar_values": middles,
        "logits_hist_data_bar_heights": [],
        "logits_hist_data_bar_values": [],
        "neuron_alignment_indices": [],
        "neuron_alignment_values": [],
        "correlated_neurons_indices": [i for i, _ in found.neurons],
        "correlated_neurons_pearson": [_short(r) for _, r in found.neurons],
        "correlated_features_indices": [i for i, _ in found.cofiring],
        "correlated_features_pearson": [_short(phi) for _, phi in found.cofiring],
        "topkCosSimIndices": [i for i, _ in found.neighbours],
        "topkCosSimValues": [_short(cosine) for _, cosine in found.neighbours],
        "decoder_weights_dist": [],
        "hasVector": False,
        "vector": [],
    }


def activations(catalogue: Catalogue, found: FeatureRecord, source: Source) -> Iterator[Row]:
    """Rows of activations: every example with the tokens around it.

    ``binMin`` and ``binMax`` are the bounds of its percentile group among the feature's own values, ``binContains`` the
    group's share of all tokens; of the strongest ones ``-1``, the maximum, ``-1``. ``qualifyingTokenIndex`` is the
    example's own token: another one in the window may be stronger.
    """
    sizes = {name: last - first for name, (first, last) in groups(found.n_active).items()}
    for name, examples in found.examples.items():
        low, high = found.intervals.get(name, (0.0, found.max))
        share = sizes.get(name, 0) / catalogue.facts["n_tokens"]
        bounds = (-1, _short(found.max), -1) if name == TOP else (_short(low), _short(high), share)
        for example in examples:
            yield _activation(catalogue, found.id, source, f"{name} ", example, bounds)


def _activation(
    catalogue: Catalogue, index: int, source: Source, group: str, example: Example, bounds: tuple[float, float, float]
) -> Row:
    tokens = catalogue.excerpt(example.document, example.position, *AROUND, feature=index)
    values = [_short(t.value) for t in tokens]
    place = f"{example.document}:{example.position}"
    return {
        "id": _id(source, "activation", group, index, place),
        "modelId": source.model,
        "layer": source.id,
        "index": str(index),
        "creatorId": CREATOR,
        "tokens": [t.text for t in tokens],
        "values": values,
        "maxValue": max(values),
        "maxValueTokenIndex": values.index(max(values)),
        "minValue": min(values),
        "qualifyingTokenIndex": example.position - tokens[0].position,
        "binMin": bounds[0],
        "binMax": bounds[1],
        "binContains": bounds[2],
        "dataSource": catalogue.store.names[example.document],
        "dataIndex": place,
        "dfaValues": [],
        "dfaTargetIndex": None,
        "dfaMaxValue": None,
        "lossValues": [],
        "logitContributions": None,
    }


def explanations(catalogue: Catalogue, index: int, label: Label | None, source: Source) -> Iterator[Row]:
    """Rows of explanations: the tested label with its evidence, then what explainers said."""
    told = [] if label is None else [(label.words, _evidence(label))]
    for found in catalogue.explanations(index):
        words = found.fires_on if not found.promotes else f"{found.fires_on}; promotes {found.promotes}".lstrip("; ")
        told.append((words, f"explainer: {found.explainer}"))
    for number, (words, notes) in enumerate(told):
        yield {
            "id": _id(source, "explanation", index, number),
            "modelId": source.model,
            "layer": source.id,
            "index": str(index),
            "description": words,
            "authorId": CREATOR,
            "typeName": None,
            "explanationModelName": None,
            "notes": notes,
        }


def _evidence(label: Label) -> str:
    return (
        f"concept: {label.concept}; on held-out text F1 {label.f1:.3f} (95 % interval {label.f1_low:.3f} to "
        f"{label.f1_high:.3f}), precision {label.precision:.3f}, recall {label.recall:.3f}, {label.support} tokens in "
        f"{label.documents} documents; tokens alone F1 {label.baseline_f1:.3f}"
    )


def _short(value: float) -> float:
    """Six significant digits, as the catalogue holds."""
    return float(f"{value:.6g}")


def _id(source: Source, *parts: object) -> str:
    """An id in the form that the database uses, the same for the same row."""
    told = "\n".join(map(str, (source.model, source.id, *parts)))
    return "c" + hashlib.sha256(told.encode()).hexdigest()[:24]
