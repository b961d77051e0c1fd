"""What a catalogue says of a feature: plain frozen records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from monoscope.catalogue import notebook


@dataclass(frozen=True)
class Label:
    """A feature in words, and the evidence for them.

    A *token* label is a set of at most 8 tokens; a *contextual* one is any other executable concept. The feature
    counts as on above ``threshold ·`` its maximum over the fit documents. Precision, recall, F1 and its interval are
    measured on test documents, which had no part in choosing the label; ``baseline_f1`` is what the best set of at
    most 8 tokens reaches there (for a token label, its own F1).
    """

    feature: int
    kind: str  # "token" or "context"
    concept: str  # the expression that can be run
    words: str  # the same for people
    threshold: float
    precision: float
    recall: float
    f1: float
    f1_low: float
    f1_high: float
    baseline_f1: float
    support: int  # test tokens on which the feature is on
    documents: int  # test documents that those tokens are in


@dataclass(frozen=True)
class Example:
    """One place where a feature fires.

    ``loss_effect`` is how much the loss of the next token rises, in nats, when the feature is removed at this
    position; None where it was not measured.
    """

    document: int
    position: int
    value: float
    loss_effect: float | None = None


@dataclass(frozen=True)
class TokenWeight:
    """A token with its weight in a list, and how often the feature fired on it (0 in lists of promoted tokens)."""

    token_id: int
    text: str
    weight: float
    count: int = 0


@dataclass(frozen=True)
class Histogram:
    """``counts[i]`` values lie in ``[edges[i], edges[i + 1])``; the last bin includes its upper edge."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class ExcerptToken:
    """A token as shown, its position in the document, and a feature's value there (0 where it is off)."""

    text: str
    value: float
    position: int


@dataclass(frozen=True)
class Hit:
    """A feature that a search found; ``label`` is "" and ``label_f1`` NaN where it has none."""

    id: int
    label: str
    label_f1: float
    density: float
    score: float


class Hits(list[Hit]):
    """A list of hits that shows itself in a notebook."""

    def _repr_html_(self) -> str:
        return notebook.hits(self)


@dataclass(frozen=True)
class FeatureRecord:
    """Everything the catalogue holds on one feature.

    Attributes:
        id: the feature's number in its dictionary.
        n_active: on how many catalogued tokens it fires.
        density: the fraction of catalogued tokens on which it fires.
        max: its largest value; 0 for a dead feature.
        mean: the mean of its values where it fires; 0 for a dead feature.
        histogram: every value where it fires, none sampled.
        intervals: for each group of examples, the lowest and highest value of all its members.
        examples: "top" (largest first), then groups between percentiles of the feature's own values where it fires.
        top_tokens_by_mean: weight = mean value over *all* occurrences of the token, silent ones included.
        top_tokens_by_mass: weight = the token's share of the sum of all values.
        promoted: tokens whose logits its direction raises most, in logits per unit of its value.
        suppressed: the same for those it lowers most.
        neighbours: (feature, cosine between decoder directions), nearest first.
        cofiring: (feature, phi coefficient of firing together), over the whole catalogue.
        neurons: (coordinate of the site, Pearson correlation with the feature), strongest of either sign first.
        loss_effect: mean of the examples' loss effects; None where it could not be measured.
        label: what the feature means, once it has been explained.
    """

    id: int
    n_active: int
    density: float
    max: float
    mean: float
    histogram: Histogram
    intervals: dict[str, tuple[float, float]]
    examples: dict[str, list[Example]]
    top_tokens_by_mean: list[TokenWeight]
    top_tokens_by_mass: list[TokenWeight]
    promoted: list[TokenWeight]
    suppressed: list[TokenWeight]
    neighbours: list[tuple[int, float]]
    cofiring: list[tuple[int, float]]
    neurons: list[tuple[int, float]]
    loss_effect: float | None
    label: Label | None
    _catalogue: ClassVar[Any] = None  # of a record that a catalogue gave: what knows the text of its examples

    def _repr_html_(self) -> str:
        return notebook.feature(self, self._catalogue)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled or copied: the record, without the open files behind it."""
        return {name: value for name, value in vars(self).items() if name != "_catalogue"}


def record_of(row: Mapping[str, Any], label: Label | None) -> FeatureRecord:
    """A record from its row of the table ``features``, whose lists are JSON."""
    lists = {name: json.loads(value) for name, value in row.items() if isinstance(value, str)}
    effects = {(document, position): effect for document, position, effect in lists["effects"]}
    examples = {
        name: [Example(d, p, v, effects.get((d, p))) for d, p, v in places]
        for name, places in lists["examples"].items()
    }
    return FeatureRecord(
        id=row["id"],
        n_active=row["n_active"],
        density=row["density"],
        max=row["max"],
        mean=row["mean"],
        histogram=Histogram(**lists["histogram"]),
        intervals={name: (low, high) for name, (low, high) in lists["intervals"].items()},
        examples=examples,
        top_tokens_by_mean=[TokenWeight(*entry) for entry in lists["by_mean"]],
        top_tokens_by_mass=[TokenWeight(*entry) for entry in lists["by_mass"]],
        promoted=[TokenWeight(*entry) for entry in lists["promoted"]],
        suppressed=[TokenWeight(*entry) for entry in lists["suppressed"]],
        neighbours=[(feature, cosine) for feature, cosine in lists["neighbours"]],
        cofiring=[(feature, phi) for feature, phi in lists["cofiring"]],
        neurons=[(coordinate, r) for coordinate, r in lists["neurons"]],
        loss_effect=row["loss_effect"],
        label=label,
    )
