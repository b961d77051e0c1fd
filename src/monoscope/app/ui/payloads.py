"""What the pages, the report and the terminal say about a catalogue: plain dictionaries, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from monoscope.errors import MonoscopeError

AROUND = (24, 12)  # tokens before and after an example's token
CARD_AROUND = (14, 8)
HEADLINES: tuple[tuple[str, str, str, int], ...] = (
    (
        "fvu",
        "Unexplained variance",
        "Share of the activations’ variance that the dictionary misses. Lower is better.",
        3,
    ),
    (
        "loss_recovered_mean",
        "Loss recovered, mean ablation",
        "How much of the model’s prediction survives when it must use the reconstruction. Higher is better.",
        3,
    ),
    (
        "loss_recovered_zero",
        "Loss recovered, zero ablation",
        "The same against an ablation to zero, the milder test.",
        3,
    ),
    ("l0", "Active features per token", "L0: how many features it takes to describe one token. Lower is sparser.", 1),
    ("dead_fraction", "Dead features", "Share of features that never fire on held-out text.", 3),
)
CONTROLS = {
    "random_model": "random model",
    "frozen_decoder": "frozen decoder",
    "pca": "PCA",
    "neurons": "neurons",
    "linear_map": "linear map",
    "shuffled": "shuffled",
}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
LEVELS = ((0.8, "strong"), (0.5, "fair"), (0.0, "weak"))


def number(value: float | None) -> float | None:
    """A JSON number of six significant digits; None for what is not known or not finite."""
    return float(f"{float(value):.6g}") if value is not None and math.isfinite(value) else None


def short_name(model: str) -> str:
    """A model's name without the path or organisation before it."""
    return next((part for part in reversed(model.split("/")) if part), "the model")


def label_words(catalogue: Any, feature: int) -> str:
    """A feature's label; ``""`` where it has none."""
    return str(catalogue.features["label"][feature])


def excerpt(
    catalogue: Any, document: int, position: int, feature: int, around: tuple[int, int]
) -> list[dict[str, Any]]:
    """Tokens around a position, each with the feature's value there and its position in the document."""
    tokens = catalogue.excerpt(document, position, around[0], around[1], feature)
    return [{"text": t.text, "value": number(t.value), "position": t.position} for t in tokens]


def row(catalogue: Any, feature: int) -> dict[str, Any]:
    """A feature as a row of the table."""
    found = catalogue[feature]
    label = found.label
    return {
        "id": feature,
        "label": "" if label is None else label.words,
        "label_kind": "" if label is None else label.kind,
        **{f"label_{name}": number(getattr(label, name, None)) for name in ("f1", "f1_low", "f1_high")},
        **{name: number(getattr(found, name)) for name in ("density", "loss_effect", "max")},
        "top_tokens": [token.text for token in found.top_tokens_by_mean[:5]],
    }


def trust(kind: str, f1_low: float) -> str:
    """How far a label may be trusted, in one word: the lower end of its F1's interval decides."""
    if not kind or not math.isfinite(f1_low):
        return "none"
    return next(level for least, level in LEVELS if f1_low >= least)


def brief(catalogue: Any, features: Iterable[int]) -> dict[str, dict[str, Any]]:
    """What a hover over a feature says: its label's kind and evidence, density and maximum, by the feature's number."""
    columns = catalogue.features
    numbers = ("label_f1_low", "label_f1_high", "label_precision", "label_recall", "density", "max")
    return {
        str(i): {"label_kind": str(columns["label_kind"][i]), **{name: number(columns[name][i]) for name in numbers}}
        for i in sorted(set(features))
    }


def evidence(label: Any) -> dict[str, Any]:
    """A label with its evidence in numbers and in words."""
    numbers = ("threshold", "precision", "recall", "f1", "f1_low", "f1_high", "baseline_f1")
    facts: dict[str, Any] = {name: number(getattr(label, name)) for name in numbers}
    facts |= {name: str(getattr(label, name)) for name in ("kind", "concept", "words")}
    facts |= {name: int(getattr(label, name)) for name in ("support", "documents")}
    level = trust(label.kind, label.f1_low)
    return {**facts, "trust": level, "trust_words": _trust_words(label, level)}


def _trust_words(label: Any, level: str) -> str:
    verdicts = {
        "strong": "This label holds up.",
        "fair": "This label is a fair description, with exceptions.",
        "weak": "Treat this label as a hint: much of what the feature does is not in it.",
        "none": "This label has no evidence.",
    }
    baseline = (
        f" Tokens alone, at most 8 or all there are, reach F1 {label.baseline_f1:.2f}."
        if math.isfinite(label.baseline_f1) and label.kind == "context"
        else ""
    )
    return (
        f"{verdicts[level]} On text it was not chosen on, {label.precision:.0%} of the tokens where the feature fires "
        f"fit the label, and it fires on {label.recall:.0%} of the tokens that fit. Counted over {label.support:,} "
        f"tokens in {label.documents:,} documents.{baseline}"
    )


def weights(tokens: Sequence[Any]) -> list[dict[str, Any]]:
    """Token weights: text, weight, and how often the token was counted."""
    return [{"text": str(t.text), "weight": number(t.weight), "count": t.count} for t in tokens]


def linked(catalogue: Any, pairs: Iterable[tuple[int, float]]) -> list[dict[str, Any]]:
    """Related features with their labels and the strength of the relation."""
    f1 = catalogue.features["label_f1"]
    return [
        {"id": i, "value": number(v), "label": label_words(catalogue, i), "label_f1": number(f1[i])} for i, v in pairs
    ]


def check_feature(catalogue: Any, feature: int) -> None:
    """Raises: MonoscopeError: the catalogue has no such feature."""
    if not 0 <= feature < len(catalogue):
        raise MonoscopeError(
            f"there is no feature {feature}", fix=f"this catalogue's features are 0 to {len(catalogue) - 1}"
        )


def _quantiles(catalogue: Any, feature: int) -> dict[str, float | None]:
    offsets = catalogue.index.offsets
    values = np.asarray(catalogue.index.values[int(offsets[feature]) : int(offsets[feature + 1])], dtype=np.float64)
    if len(values) == 0:
        return {}
    return {f"{q:g}": number(value) for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}


def record(catalogue: Any, feature: int) -> dict[str, Any]:
    """Everything the page of a feature shows, but for further context.

    Raises:
        MonoscopeError: the catalogue has no such feature.
    """
    check_feature(catalogue, feature)
    found = catalogue[feature]
    return {
        "id": feature,
        "density": number(found.density),
        "n_active": found.n_active,
        "max": number(found.max),
        "mean": number(found.mean),
        "loss_effect": number(found.loss_effect),
        "histogram": {"edges": [number(e) for e in found.histogram.edges], "counts": found.histogram.counts},
        "quantiles": _quantiles(catalogue, feature),
        "label": evidence(found.label) if found.label is not None else None,
        "groups": [
            {
                "name": name,
                "interval": [number(bound) for bound in found.intervals.get(name, ())],
                "examples": [example(catalogue, feature, e) for e in examples],
            }
            for name, examples in found.examples.items()
        ],
        "top_tokens_by_mean": weights(found.top_tokens_by_mean),
        "top_tokens_by_mass": weights(found.top_tokens_by_mass),
        "promoted": weights(found.promoted),
        "suppressed": weights(found.suppressed),
        "neighbours": linked(catalogue, found.neighbours),
        "cofiring": linked(catalogue, found.cofiring),
        "neurons": [{"index": int(i), "value": number(v)} for i, v in found.neurons],
    }


def example(catalogue: Any, feature: int, found: Any, around: tuple[int, int] = AROUND) -> dict[str, Any]:
    """An example with the tokens around it, and what removing the feature there did to the loss, where known."""
    return {
        "document": int(found.document),
        "name": catalogue.rows.store.names[int(found.document)],
        "position": int(found.position),
        "value": number(found.value),
        "loss_effect": number(found.loss_effect),
        "tokens": excerpt(catalogue, found.document, found.position, feature, around),
    }


def best(catalogue: Any, limit: int) -> list[dict[str, Any]]:
    """The best-tested features, no two with the same label, each with its strongest example.

    Contextual labels come before token labels; within a kind the lower end of the F1 interval decides.
    """
    columns = catalogue.features
    low = np.nan_to_num(np.asarray(columns["label_f1_low"], dtype=float), nan=-1.0)
    kind = np.asarray(columns["label_kind"])
    order = np.lexsort((-low, kind != "context"))
    seen: set[str] = set()
    chosen: list[dict[str, Any]] = []
    for feature in order.tolist():
        if len(chosen) == limit or not kind[feature]:
            break
        found = catalogue[feature]
        if found.label.concept in seen:
            continue
        seen.add(found.label.concept)
        top = next((examples[0] for examples in found.examples.values() if examples), None)
        shown = example(catalogue, feature, top, CARD_AROUND) if top is not None else None
        chosen.append({**row(catalogue, feature), "example": shown})
    return chosen


def _label_counts(catalogue: Any) -> dict[str, dict[str, int]]:
    kinds = np.asarray(catalogue.features["label_kind"])
    f1 = np.nan_to_num(np.asarray(catalogue.features["label_f1"], dtype=float), nan=-1.0)
    return {
        name: {
            "all": int((kinds == name).sum()),
            "f1_50": int(((kinds == name) & (f1 >= 0.5)).sum()),
            "f1_80": int(((kinds == name) & (f1 >= 0.8)).sum()),
        }
        for name in ("context", "token")
    }


def density_histogram(catalogue: Any, bins: int = 48) -> dict[str, list[Any]]:
    """How many features fire how often: log-spaced edges, counts; features that never fire are not in it."""
    density = np.asarray(catalogue.features["density"], dtype=float)
    logs = np.log10(density[density > 0])
    if len(logs) == 0:
        return {"edges": [], "counts": []}
    low, high = math.floor(logs.min()), max(math.ceil(logs.max()), math.floor(logs.min()) + 1)
    counts, edges = np.histogram(logs, bins=bins, range=(low, high))
    return {"edges": [number(10**e) for e in edges], "counts": counts.tolist()}


def where(facts: Mapping[str, Any]) -> str:
    """The site that is read, and, of a transcoder, the one that is written."""
    return " → ".join(dict.fromkeys(str(facts[end]) for end in ("site", "target") if facts.get(end)))


def overview(catalogue: Any) -> dict[str, Any]:
    """The dictionary's health: headline numbers with controls, densities, label counts, what it was made from."""
    facts = catalogue.overview
    density = np.asarray(catalogue.features["density"], dtype=float)
    return {
        **{name: str(facts.get(name) or "") for name in ("name", "model", "site", "architecture")},
        "where": where(facts),
        "n_features": len(catalogue),
        "n_tokens": int(facts["n_tokens"]),
        "n_documents": len(catalogue.rows.documents),
        "alive": int((density > 0).sum()),
        "dead": int((density == 0).sum()),
        "density_histogram": density_histogram(catalogue),
        "evaluation": facts.get("evaluation") or None,
        "headlines": [{"name": n, "words": w, "note": note, "digits": digits} for n, w, note, digits in HEADLINES],
        "controls": CONTROLS,
        "labels": _label_counts(catalogue),
    }
