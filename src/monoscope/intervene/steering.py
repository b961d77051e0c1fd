"""Steering: a recipe applied in every forward pass of a ``transformers`` model, ``generate`` included.

``h + Σ change · direction`` is what is written, so for a feature ``decode(edited code) − decode(code)`` is added and
what the dictionary does not explain stays as it was. All values are read from the activations before any edit of that
site.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.edit import Condition, Edit, Recipe
from monoscope.models import taps
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import Sites, sites_of
from monoscope.signals.direction import Direction, Sources
from monoscope.signals.reading import Reading
from monoscope.types import Site

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class _Value:
    """A number per row: a column of a reading."""

    reading: Reading
    column: int

    def rows(self) -> Float[Tensor, " n"]:
        if self.reading.found is None:
            raise MonoscopeError("a site is written before the one it depends on is read", fix="name a later site")
        return self.reading.found[:, self.column]


@dataclass(frozen=True)
class _Applied:
    """An edit ready to be applied at its site."""

    edit: Edit
    plugin: ModuleType
    value: _Value | None  # None: the projection on the direction
    direction: Float[Tensor, " d"]
    length: float
    when: _Value | None
    requests: frozenset[int]

    def change(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """How much of the direction is added to each row."""
        value = self.value.rows() if self.value is not None else x @ self.direction / self.length**2
        edit, dose = self.edit, torch.zeros_like(value)
        if edit.dose is not None:
            unit = {"value": 1.0, "max": edit.of.max or 1.0}.get(edit.unit)
            dose = dose + edit.dose * (unit if unit is not None else x.norm(dim=1) / self.length)
        change: Tensor = self.plugin.change(value, dose)
        if self.when is None or edit.when is None:
            return change
        above = edit.when.above * (edit.when.of.max or 1.0 if edit.when.unit == "max" else 1.0)
        return change.where(self.when.rows() > above, 0.0)


class Steering:
    """Recipes compiled for one model; ``applied`` is the context in which they hold."""

    def __init__(self, model: nn.Module, sites: Sites, requests: Sequence[Recipe | None]) -> None:
        """Open dictionaries and vectors and check that everything belongs together.

        Args:
            model: what is steered.
            sites: its sites.
            requests: a recipe, or None, for each request of a batch.

        Raises:
            MonoscopeError: a recipe was made for another model, a file is missing or another one, widths differ, there
                is no such site or feature, or two edits set the same feature.
        """
        self._model, self._sites, self.n_requests = model, sites, len(requests)
        self._sources = Sources(model, sites, "recipe")
        self._readings: dict[tuple[str, str | None], Reading] = {}
        self._edits: dict[str, list[_Applied]] = {}
        self._places: Int[Tensor, "batch tokens"] = torch.zeros(0, 0, dtype=torch.long)
        self._assigned: list[int | None] | None = None
        self._rows: list[int | None] = []  # whose request each sequence of the pass under way is
        self.only: Bool[Tensor, "batch tokens"] | None = None  # of the pass, these tokens are steered; None is all
        for recipe in dict.fromkeys(r for r in requests if r is not None):
            self._take(recipe, frozenset(i for i, r in enumerate(requests) if r == recipe))

    def _take(self, recipe: Recipe, requests: frozenset[int]) -> None:
        self._sources.check_model(recipe.fingerprint, recipe.model)
        set_by: set[tuple[str, Direction]] = set()
        for edit in recipe.edits:
            applied, site = self._compiled(edit, requests)
            if (site, edit.of) in set_by:
                raise MonoscopeError(f"two edits of one recipe change {edit.of} at {site}", fix="keep one of them")
            set_by.add((site, edit.of))
            self._edits.setdefault(site, []).append(applied)

    def _compiled(self, edit: Edit, requests: frozenset[int]) -> tuple[_Applied, str]:
        plugin, dictionary = edit.plugin, self._sources.dictionary(edit.of)
        site = edit.site or self._sources.site(edit.of, "target") or self._sources.site(edit.of)
        if site is None:
            raise MonoscopeError(f"nothing says where {edit.of} is written", fix="give the edit a site")
        if dictionary is None:
            direction = self._sources.vector(edit.of)
        else:
            dictionary.check_features([edit.of.feature or 0])
            direction = dictionary.directions[edit.of.feature].float()
        self._sources.check_width(site, len(direction), f"{edit.of} writes")
        length = float(direction.norm())
        if not length > 0:
            raise MonoscopeError(f"the direction of {edit.of} is zero", fix="choose another")
        by_feature = dictionary is not None and not plugin.PROJECTION
        value = self._value(edit.of, self._sources.site(edit.of) or site) if by_feature else None
        when = None if edit.when is None else self._condition(edit.when, site)
        return _Applied(edit, plugin, value, direction, length, when, requests), site

    def _condition(self, when: Condition, site: str) -> _Value:
        return self._value(when.of, when.site or self._sources.site(when.of) or site)

    def _value(self, of: Direction, site: str) -> _Value:
        """A number to be read at a site."""
        vector = None if of.vector is None else self._sources.vector(of)
        dictionary = self._sources.dictionary(of)
        width = len(vector) if vector is not None else dictionary.d_in if dictionary is not None else 0
        self._sources.check_width(site, width, f"{of} reads")
        reading = self._readings.setdefault((site, of.dictionary), Reading(dictionary))
        return _Value(reading, reading.column(of, vector))

    @contextmanager
    def applied(self) -> Iterator[Steering]:
        """Every forward pass of the model is steered while the block runs."""
        read = dict.fromkeys(site for site, _ in self._readings)
        places = {site: self._sites.place(Site.parse(site)) for site in {**read, **dict.fromkeys(self._edits)}}
        with taps.hold(self._model, {s: (place, self._writer(s)) for s, place in places.items()}, self._begin):
            yield self

    def assign(self, rows: Sequence[int | None] | None) -> None:
        """Say whose request each sequence of the next passes is, for batches that sequences join and leave.

        Args:
            rows: for each sequence the number of its request, or None for one that is not steered; empty where none
                is, however many there are. None goes back to what holds at first: the requests in order, with equally
                many sequences each.
        """
        self._assigned = None if rows is None else list(rows)

    def _begin(self, shape: tuple[int, int], inputs: Mapping[str, Any]) -> None:
        """Note where the tokens of a pass stand in their sequences, and forget what the last pass read."""
        self._rows = self._requests_of(shape[0])
        self._places = positions(shape, inputs)
        for reading in self._readings.values():
            reading.found = None

    def _requests_of(self, n: int) -> list[int | None]:
        """Whose request each of the n sequences of a pass is."""
        if self._assigned is None:
            each, over = divmod(n, self.n_requests)
            rows: list[int | None] = [i // max(each, 1) for i in range(n)]
        else:
            rows, over = self._assigned or [None] * n, 0
        if over or len(rows) != n:
            raise MonoscopeError(
                f"{self.n_requests if over else len(rows)} recipes for a batch of {n} sequences",
                fix="give one recipe, or one for each sequence",
            )
        return rows

    def _writer(self, site: str) -> taps.Write:
        readings = [reading for (place, _), reading in self._readings.items() if place == site]
        edits = self._edits.get(site, [])

        def write(h: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens d"]:
            nobody = all(row is None for row in self._rows) or (self.only is not None and not self.only.any())
            if nobody:
                return h
            live = (self._places >= 0).to(h.device)  # padding holds no text, and perhaps no finite numbers
            x = h[live].detach().float()
            if self._assigned is not None:  # sequences that have nothing in common share the pass: each fails alone
                x = x.where(x.isfinite().all(1, keepdim=True), 0.0)
            for reading in readings:
                reading.read(x)
            added = [self._added(applied, x, live) for applied in edits]
            if not added or not len(x):
                return h
            changed = h.clone()
            changed[live] = (h[live].float() + torch.stack(added).sum(0)).to(h.dtype)
            return changed

        return write

    def _added(self, applied: _Applied, x: Float[Tensor, "n d"], live: Bool[Tensor, "batch tokens"]) -> Tensor:
        """What an edit adds to the rows of text."""
        edit = applied.edit
        asked = torch.tensor([row in applied.requests for row in self._rows], device=x.device)
        where = (self._places >= edit.start).to(x.device) & asked[:, None]
        if self.only is not None:
            where &= self.only.to(x.device)
        if edit.stop is not None:
            where &= (self._places < edit.stop).to(x.device)
        change = applied.change(x).where(where[live], 0.0)
        return change[:, None] * applied.direction.to(x.device)


@contextmanager
def steer(
    model: PreTrainedModel | LanguageModel,
    recipe: str | Path | Recipe | Sequence[Recipe | None],
) -> Iterator[Steering]:
    """Steer a model while the block runs: every forward pass, so plain ``model.generate`` too, with a cache or without.

    Args:
        model: a ``transformers`` model, or a ``LanguageModel``. Its weights are not touched.
        recipe: a recipe, its file, or one (or None) for each sequence of a batch; with several sequences a request
            (beams, ``num_return_sequences``) they follow their request.

    Raises:
        MonoscopeError: the recipe does not fit the model; see ``Steering``.
    """
    if isinstance(recipe, str | Path):
        recipe = recipes.load(recipe)
    requests: list[Any] = list(recipe) if isinstance(recipe, Sequence) else [recipe]
    if wrong := [one for one in requests if not isinstance(one, Recipe | None)]:
        raise MonoscopeError(f"a {type(wrong[0]).__name__} is no recipe", fix="pass a recipe, or the name of its file")
    if not requests:
        raise MonoscopeError("there is no recipe", fix="give one, or one for each sequence")
    module = model.model if isinstance(model, LanguageModel) else model
    with Steering(module, sites_of(module, type(module).__name__), requests).applied() as steering:
        yield steering


def positions(shape: tuple[int, int], inputs: Mapping[str, Any]) -> Int[Tensor, "batch tokens"]:
    """Where each token of a pass stands in its sequence, counted without padding; −1 on padding.

    Args:
        shape: (sequences, tokens) of the pass.
        inputs: the model's arguments. A two-dimensional attention mask counts; else what the cache holds does.
    """
    mask = inputs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.ndim == 2 and mask.shape[0] == shape[0] and mask.shape[1] >= shape[1]:
        mask = mask.long().cpu()
        counted = mask.cumsum(1) - 1
        return counted.where(mask > 0, -1)[:, -shape[1] :]
    cache = inputs.get("past_key_values")
    past = int(cache.get_seq_length()) if cache is not None else 0
    return (past + torch.arange(shape[1])).expand(shape)
