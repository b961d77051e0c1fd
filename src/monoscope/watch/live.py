"""Watching a model live: signals read in every forward pass, plain ``generate`` with a cache or without included.

Values are read off what steering wrote, whichever of the two began first, unless a signal says ``before``. Only the
features that are watched are encoded where the dictionary allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from monoscope.errors import MonoscopeError
from monoscope.intervene.steering import positions
from monoscope.models import taps
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import Sites, sites_of
from monoscope.signals.direction import Sources
from monoscope.signals.reading import Reading
from monoscope.types import Site
from monoscope.watch import rules as rules_
from monoscope.watch.following import Followed, Follower
from monoscope.watch.monitor import Event
from monoscope.watch.rules import Rules, Signal

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Column:
    """The signals of one reading: where their values come from, and to which columns they go."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.sources: list[int] = []
        self.columns: list[int] = []
        self.biases: list[float] = []

    def values(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n columns"]:
        found = self.reading.read(x)[:, self.sources].float().cpu()
        return found + torch.tensor(self.biases) if any(self.biases) else found


class Watching:
    """Rules compiled for one model; ``held`` is the context in which it is watched.

    Attributes:
        values: of the last pass: ``(batch, tokens, n_signals)``, float32; NaN on padding.
        events: those of the last pass, as (row of the batch, event), where sequences are followed.
    """

    def __init__(
        self, model: nn.Module, sites: Sites, rules: Rules, *, follow: bool, ends: Iterable[int] | None
    ) -> None:
        """Open dictionaries and vectors and check that everything belongs together; see ``watch``."""
        self.model, self.rules = model, rules
        self._sites, self._sources = sites, Sources(model, sites, "rules file")
        self._sources.check_model(rules.fingerprint, rules.model)
        self._readings: dict[tuple[str, bool, str | None], _Column] = {}
        for column, signal in enumerate(rules.signals):
            self._take(column, signal)
        causal = sites.layout is None or sites.layout.causal
        self._follower = Follower(rules, _ends(model) if ends is None else frozenset(ends), causal) if follow else None
        self.values: Float[Tensor, "batch tokens n_signals"] = torch.zeros(0, 0, len(rules.signals))
        self.events: list[tuple[int, Event]] = []
        self._live: Bool[Tensor, "batch tokens"] = torch.zeros(0, 0, dtype=torch.bool)
        self._places: Int[Tensor, "batch tokens"] = torch.zeros(0, 0, dtype=torch.long)
        self._tokens: Int[Tensor, "batch tokens"] | None = None

    def _take(self, column: int, signal: Signal) -> None:
        of, sources = signal.of, self._sources
        vector = None if of.vector is None else sources.vector(of)
        dictionary, site = sources.dictionary(of), signal.site or sources.site(of)
        if site is None:
            raise MonoscopeError(f"nothing says where {signal.name} is read", fix="give the signal a site")
        if dictionary is not None:
            dictionary.check_features([of.feature or 0])
        width = len(vector) if vector is not None else dictionary.d_in if dictionary is not None else 0
        sources.check_width(site, width, f"{signal.name} reads")
        key = (site, signal.before, of.dictionary)
        group = self._readings.setdefault(key, _Column(Reading(dictionary)))
        group.sources.append(group.reading.column(of, vector))
        group.columns.append(column)
        group.biases.append(signal.bias)

    @property
    def rows(self) -> list[Followed | None]:
        """The sequences of the last pass, where they are followed; None for a row that held only padding so far."""
        return [] if self._follower is None else list(self._follower.rows)

    def restart(self) -> None:
        """What comes next are new sequences, whatever it looks like."""
        if self._follower is not None:
            self._follower.rows = []

    @contextmanager
    def held(self) -> Iterator[Watching]:
        """Every forward pass of the model is watched while the block runs."""
        ears = [
            (site, self._sites.place(Site.parse(site)), self._ear(site, column), before)
            for (site, before, _), column in self._readings.items()
        ]
        with taps.listen(self.model, ears, self._begin, self._end):
            yield self

    def _begin(self, shape: tuple[int, int], inputs: Mapping[str, Any]) -> None:
        self._places = positions(shape, inputs)
        self._live = self._places >= 0
        self._tokens = inputs.get("input_ids")
        self.values = torch.full((*shape, len(self.rules.signals)), torch.nan)

    def _ear(self, site: str, group: _Column) -> taps.Ear:
        columns = torch.tensor(group.columns)

        def hear(h: Float[Tensor, "batch tokens d"]) -> None:
            found = torch.full((*h.shape[:2], len(columns)), torch.nan)
            x = h.detach()[self._live.to(h.device)].float()
            try:
                found[self._live] = group.values(x)
            except MonoscopeError as error:
                raise MonoscopeError(error.what, where=f"{site}, while it is watched", fix=error.fix) from error
            self.values[:, :, columns] = found

        return hear

    def _end(self) -> None:
        self.events = []
        if self._follower is None:
            return
        if self._tokens is None:
            raise MonoscopeError("sequences are followed by their tokens", fix="call the model with input_ids")
        for row, followed, new in self._follower.follow(self._places.tolist(), self._tokens.tolist()):
            events = followed.monitor.step(self.values[row, new].numpy())
            followed.events += events
            self.events += [(row, event) for event in events]


@contextmanager
def watch(
    model: PreTrainedModel | LanguageModel,
    rules: str | Path | Rules,
    *,
    follow: bool = True,
    ends: Iterable[int] | None = None,
) -> Iterator[Watching]:
    """Watch a model while the block runs: every forward pass, so plain ``model.generate`` too, cached or not.

    Args:
        model: a ``transformers`` model, or a ``LanguageModel``.
        rules: rules, or their file.
        follow: keep a monitor for each sequence of a batch, as ``generate`` goes on with them. Without that there are
            the ``values`` of each pass and no events.
        ends: tokens that end a sequence when the model writes them, so that a sequence of a batch is watched just as
            long as it would be alone; those of the model's generation config by default.

    Raises:
        MonoscopeError: the rules do not fit the model: another fingerprint, another dictionary or vector than was
            meant, no such site or feature, another width. During a pass: a value is not finite.
    """
    if isinstance(rules, str | Path):
        rules = rules_.load(rules)
    module = model.model if isinstance(model, LanguageModel) else model
    sites = sites_of(module, type(module).__name__)
    with Watching(module, sites, rules, follow=follow, ends=ends).held() as watching:
        yield watching


def _ends(model: nn.Module) -> frozenset[int]:
    """What the model's generation config says ends a text."""
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset(found if isinstance(found, list) else [] if found is None else [int(found)])
