"""How a measure is written: a file of ``measures/`` with the names it gives, the part it sees, and ``start``.

Most measures are ratios of totals. Such a file states the terms of each token and the values that follow from their
totals, and ``start = partial(DocumentSums, terms, values)`` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.evaluate.intervals import Estimate, Sampled, Values, sample

ROWS, PREDICTIONS = "rows", "predictions"  # a measure's part: batches of Reconstructed, or of Spliced

Terms = Callable[[Any], Mapping[str, Tensor]]
Made = TypeVar("Made")


class SumsByDocument:
    """float64 sums of named per-token terms, kept apart by document."""

    def __init__(self, n_documents: int) -> None:
        self.n_documents = n_documents
        self.sums: dict[str, Tensor] = {}

    def add(self, slots: Int[Tensor, " n"], terms: Mapping[str, Tensor]) -> None:
        """Add each token's terms, ``(n, …)``, to its document's sums; ``tokens`` counts the tokens."""
        for name, term in {"tokens": torch.ones_like(slots), **terms}.items():
            if name not in self.sums:
                shape = (self.n_documents, *term.shape[1:])
                self.sums[name] = torch.zeros(shape, dtype=torch.float64, device=term.device)
            self.sums[name].index_add_(0, slots, term.double())

    def present(self) -> dict[str, np.ndarray]:
        """The sums of the documents that had any token: ``(n_present, …)``."""
        if not self.sums:
            return {}
        held = self.sums["tokens"] > 0
        return {name: s[held].cpu().numpy() for name, s in self.sums.items()}


class Once:
    """What is the same for every reconstructor of an evaluation: made for the first, held for all."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __call__(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` gave when it was first asked for by that name."""
        if name not in self._made:
            self._made[name] = make()
        made: Made = self._made[name]
        return made


def _cannot(x: Tensor) -> Tensor:
    raise TypeError("these facts are of no reconstructor: Facts(…, reconstruct=…) was not given")


@dataclass(frozen=True)
class Facts:
    """What a measure knows before it begins.

    ``activations`` are the site's own sums, the same for every reconstructor and therefore kept once: ``norm`` (the
    squared norm) and ``sum`` (the vector), by document. ``n_tokens`` is how many tokens will come, ``directions`` what
    each feature writes and ``rest`` what is written besides on given rows, where the reconstructor has such.
    ``reconstruct`` is for rows that a measure has kept, and ``once`` for what all reconstructors can share.
    """

    n_documents: int
    n_features: int
    seed: int
    activations: SumsByDocument
    n_tokens: int = 0
    directions: Float[Tensor, "n_features d"] | None = None
    rest: Callable[[Float[Tensor, "n d_in"]], Float[Tensor, "*n d"]] | None = None
    reconstruct: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n d"]] = _cannot
    once: Once = field(default_factory=Once)


class Tally(Protocol):
    """One measure of one reconstructor while the pass goes on."""

    def add(self, batch: Any) -> None:
        """Take in a block: a ``Reconstructed`` or a ``Spliced``, as the measure's part says."""
        ...

    def estimates(self) -> dict[str, Estimate]:
        """The measure's numbers, by name."""
        ...

    def differences(self, other: Self) -> dict[str, Estimate]:
        """These numbers less another reconstructor's on the same tokens, with paired intervals."""
        ...

    def details(self) -> dict[str, Any]:
        """What else it has to show, ready for JSON; empty for most."""
        ...


class Measure(Protocol):
    """The contents of a file of ``measures/``."""

    NAMES: tuple[str, ...]
    PART: str

    @staticmethod
    def start(facts: Facts) -> Tally:
        """A tally that has seen nothing."""
        ...


class DocumentSums:
    """A tally of ratios of totals, with bootstrap intervals over documents."""

    def __init__(self, terms: Terms, values: Values, facts: Facts) -> None:
        self.terms, self.values, self.seed = terms, values, facts.seed
        self.sums = SumsByDocument(facts.n_documents)
        self._sampled: dict[str, Sampled] | None = None

    def add(self, batch: Any) -> None:
        """Add the terms of a block's tokens."""
        self.sums.add(batch.slots, self.terms(batch))
        self._sampled = None

    def sampled(self) -> dict[str, Sampled]:
        """The values of the totals, also on resamples of the documents; kept, because comparisons ask again.

        Of fewer than two documents nothing is defined: all resamples would be the same, as if the number were certain.
        """
        if self._sampled is None:
            sums = self.per_document()
            if any(len(v) < 2 for v in sums.values()):
                sums = {name: np.zeros((2, *v.shape[1:])) for name, v in sums.items()}  # ratios of nothing
            with np.errstate(divide="ignore", invalid="ignore"):
                self._sampled = sample(sums, self.values, self.seed)
        return self._sampled

    def estimates(self) -> dict[str, Estimate]:
        """The values of the totals, and their intervals."""
        return {name: s.estimate() for name, s in self.sampled().items()}

    def differences(self, other: Self) -> dict[str, Estimate]:
        """Paired: all tallies of one evaluation have the same documents and draw the same resamples."""
        others = other.sampled()
        return {name: s.minus(others[name]) for name, s in self.sampled().items()}

    def per_document(self) -> dict[str, np.ndarray]:
        """What is resampled: the sums of each document that had any token."""
        return self.sums.present()

    def details(self) -> dict[str, Any]:
        """Nothing beyond the numbers."""
        return {}
