"""Ways to put features into words, one a file: each has ``explanations(task)``, which gives what it finds as it comes.

``explaining.explain`` runs one by its name and writes what it says into the catalogue. ``concepts`` has, besides, the
search for tested labels that the catalogue's ``label`` columns hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the command line's help lists this folder, and does not wait for torch
    from monoscope.catalogue.explanations import Explanation, Score
    from monoscope.catalogue.store import Catalogue
    from monoscope.interpret.chat import ChatModel, Prompt
    from monoscope.interpret.examples import Sizes

PACKAGE = "monoscope.interpret.explainers"
FIRES_ON, PROMOTES = "fires_on", "promotes"


def _usual_sizes() -> Sizes:
    from monoscope.interpret.examples import Sizes

    return Sizes()


@dataclass(frozen=True)
class Task:
    """What is to be explained, and with what.

    Args:
        catalogue: whose features.
        features: their numbers.
        questions: ``fires_on``, ``promotes``, or both; an explainer may answer more than it is asked.
        seed: of whatever is drawn.
        model: who is asked, by explainers that ask.
        sizes: how many examples are shown.
        again: how often a useless answer is asked for again.
        batch: features at a time.
    """

    catalogue: Catalogue
    features: Sequence[int]
    questions: tuple[str, ...] = (FIRES_ON,)
    seed: int = 0
    model: ChatModel | None = None
    sizes: Sizes = field(default_factory=_usual_sizes)
    again: int = 1
    batch: int = 32

    def batches(self) -> Iterator[Sequence[int]]:
        """The features, ``batch`` at a time."""
        for first in range(0, len(self.features), self.batch):
            yield self.features[first : first + self.batch]


@dataclass(frozen=True)
class Told:
    """What came of some features: explanations, and for those without one (or without a part of one) the reason.

    ``scores`` are what an explainer that tests what it says found, on what it did not choose by.
    """

    explanations: Sequence[Explanation]
    failures: Mapping[int, str] = field(default_factory=dict)
    scores: Sequence[Score] = ()


class Explainer(Protocol):
    """A module of this folder. One that answers the same questions whatever it is asked names them ``ANSWERS``."""

    ASKS: bool  # whether it needs a model to ask

    def explanations(self, task: Task) -> Iterator[Told]:
        """Explain the task's features, batch by batch: every feature is in one of them, explained or with a reason."""

    def prompts(self, task: Task) -> Iterator[Prompt]:
        """Of one that asks: the first questions that it would ask, for estimates."""


def name_of(explainer: str, model: ChatModel | None) -> str:
    """What explanations say of who made them: the explainer's name, with the model's where one was asked."""
    return explainer if model is None else f"{explainer}:{model.name}"
