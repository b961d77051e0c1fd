"""A detector: one number for a text, and the rule that is raised just where the number exceeds a threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from monoscope import plugins
from monoscope.signals.direction import Direction
from monoscope.watch.aggregations import PACKAGE
from monoscope.watch.precision import rounded
from monoscope.watch.rules import Condition, Rules, Signal

Values = Sequence[Float[np.ndarray, "tokens n_signals"]]


@dataclass(frozen=True)
class Aggregated:
    """Which number of a sequence's values so far a condition looks at."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        told = ", ".join(f"{key.replace('_', '-')} {value:g}" for key, value in self.options.items())
        return f"{self.name} ({told})" if told else self.name

    def largest(self, values: Float[np.ndarray, " tokens"]) -> float:
        """The largest that it is anywhere in a text, step by step as a monitor takes it."""
        step = plugins.load(PACKAGE, self.name).Aggregation(**self.options).step
        return max(map(step, values.tolist()))


@dataclass(frozen=True)
class Part:
    """A signal and how it counts.

    Args:
        name: the signal's.
        aggregation: which number of it counts.
        scale: what it is divided by, so that one threshold serves all parts.
        dictionary, feature: a feature's; or
        vector, bias: a probe's.
        site: where it is read.
        label: what a feature means, where the catalogue says.
    """

    name: str
    aggregation: Aggregated
    site: str
    scale: float = 1.0
    dictionary: str | None = None
    feature: int | None = None
    vector: Float[np.ndarray, " d"] | None = None
    bias: float = 0.0
    label: str | None = None

    def signal(self, beside: Path) -> Signal:
        """The signal; a vector is written into a file beside the rules."""
        if self.vector is None:
            return Signal(self.name, Direction(self.dictionary, self.feature), self.site)
        path = beside.with_name(f"{beside.stem}.{self.name.replace(' ', '_')}.npy")
        np.save(path, self.vector)
        return Signal(self.name, Direction(vector=str(path)), self.site, self.bias)


@dataclass(frozen=True)
class Detector:
    """Parts of which any, or all, must exceed a threshold times their scale.

    Args:
        name: what it is called.
        parts: at least one. Those of ``all`` look at the largest value so far, which never falls.
        join: whether any or all.
    """

    name: str
    parts: tuple[Part, ...]
    join: Literal["any", "all"] = "any"

    def scores(self, values: Values, columns: Mapping[str, int]) -> Float[np.ndarray, " n"]:
        """The lowest threshold that raises no alarm in each text.

        Args:
            values: of each text's tokens.
            columns: where each signal stands in them.
        """
        joined = max if self.join == "any" else min
        found = []
        for text in values:
            seen = rounded(text).astype(np.float64)
            found.append(joined(p.aggregation.largest(seen[:, columns[p.name]]) / p.scale for p in self.parts))
        return np.array(found)

    def condition(self, threshold: float) -> Condition:
        """What is true once a text has scored above a threshold."""
        leaves = tuple(
            Condition(p.name, threshold * p.scale, aggregation=p.aggregation.name, options=p.aggregation.options)
            for p in self.parts
        )
        if len(leaves) == 1:
            return leaves[0]
        return Condition(any=leaves) if self.join == "any" else Condition(all=leaves)


def parts(detectors: Sequence[Detector]) -> Iterator[Part]:
    """All parts; one that two detectors share comes once."""
    known = set()
    for part in (part for detector in detectors for part in detector.parts):
        if part.name not in known:
            known.add(part.name)
            yield part


def columns(detectors: Sequence[Detector]) -> dict[str, int]:
    """Where the signals of ``rules_of`` stand."""
    return {part.name: i for i, part in enumerate(parts(detectors))}


def rules_of(detectors: Sequence[Detector], path: Path) -> Rules:
    """The signals of some detectors, without rules; vectors are written beside ``path``."""
    return Rules(tuple(part.signal(path) for part in parts(detectors)))
