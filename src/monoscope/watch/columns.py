"""The signals of some rules, grouped by what reads them: one encode for all features of a dictionary at a site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.signals.direction import Direction, Sources
from monoscope.signals.reading import Reading
from monoscope.types import Code, Site
from monoscope.watch.rules import Rules, Signal


class Group:
    """Signals that are read at one site with one dictionary, or with vectors."""

    def __init__(self, site: str, before: bool, path: str | None, reading: Reading) -> None:
        self.site, self.before, self.path, self.reading = site, before, path, reading
        self.signals: list[Signal] = []
        self.columns: list[int] = []  # of the values
        self._sources: list[int] = []  # of the reading
        self._biases: np.ndarray | None = None

    def add(self, column: int, signal: Signal, source: int) -> None:
        """One more signal, which stands at ``source`` in the reading."""
        self.signals.append(signal)
        self.columns.append(column)
        self._sources.append(source)
        biases = np.array([signal.bias for signal in self.signals], np.float32)
        self._biases = biases if biases.any() else None

    def hear(
        self,
        h: Float[Tensor, "batch tokens d"],
        live: Bool[Tensor, "batch tokens"] | None,
        values: Float[np.ndarray, "batch tokens n_signals"],
    ) -> None:
        """Write the signals' values on live tokens (None: on all) into their columns of ``values``."""
        x = h.detach().reshape(-1, h.shape[-1]) if live is None else h.detach()[live.to(h.device)]
        try:
            found = self.reading.read(x.float())
        except MonoscopeError as error:
            raise MonoscopeError(error.what, where=f"{self.site}, while it is watched", fix=error.fix) from error
        if not self.columns:
            return
        read = found.float().cpu().numpy()[:, self._sources]
        read = read if self._biases is None else read + self._biases
        rows = values.reshape(-1, values.shape[-1])
        if live is None:
            rows[:, self.columns] = read
        else:
            rows[np.ix_(live.numpy().reshape(-1), np.array(self.columns))] = read

    def encodes(self, site: Site) -> bool:
        """Whether a whole dictionary is encoded at this site, as steering left it."""
        watched = self.reading.watched
        return watched is not None and watched.whole and not self.before and Site.parse(self.site) == site

    @property
    def code(self) -> Code:
        """What the last pass gave, where all features are encoded."""
        assert self.reading.watched is not None and self.reading.watched.code is not None
        return self.reading.watched.code


class Columns:
    """All groups of some rules, and the dictionaries that are encoded in full."""

    def __init__(self, rules: Rules, sources: Sources, full: Sequence[str] | None) -> None:
        """Open everything.

        Args:
            rules: whose signals.
            sources: opens dictionaries and vectors.
            full: the dictionaries of which all features are encoded; None is every one that the rules name.

        Raises:
            MonoscopeError: something is missing or does not belong to the model.
        """
        self._sources, self._full = sources, full
        self._groups: dict[tuple[str, bool, str | None], Group] = {}
        for column, signal in enumerate(rules.signals):
            vector = None if signal.of.vector is None else sources.vector(signal.of)
            group = self._group(signal.of, signal.site, signal.before, f"{signal.name} reads", vector)
            group.add(column, signal, group.reading.column(signal.of, vector))
        for path in full or ():
            if not any(group.path == path for group in self):
                self._group(Direction(path, 0), None, False, f"{path} reads", None)
        for group in self:
            group.reading.begin()

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def _group(self, of: Direction, site: str | None, before: bool, what: str, vector: Tensor | None) -> Group:
        dictionary = self._sources.dictionary(of)
        site = site or self._sources.site(of)
        if site is None:
            raise MonoscopeError(f"nothing says where {what.removesuffix(' reads')} is read", fix="give it a site")
        self._sources.check_width(site, _width(dictionary, vector), what)
        if dictionary is not None:
            dictionary.check_features([of.feature or 0])
        key = (site, before, of.dictionary)
        if key not in self._groups:
            whole = dictionary is not None and (self._full is None or of.dictionary in self._full)
            self._groups[key] = Group(site, before, of.dictionary, Reading(dictionary, whole=whole))
        return self._groups[key]

    def encoding(self, site: Site, sha256: str) -> Group | None:
        """The group that encodes the whole of the dictionary with this content at a site, as steering left it."""
        return next((group for group in self if group.encodes(site) and self._hash(group) == sha256), None)

    def _hash(self, group: Group) -> str:
        return self._sources.sha256(Direction(group.path, 0))

    @property
    def whole(self) -> list[Group]:
        """The groups whose dictionaries are encoded in full."""
        return [group for group in self if group.reading.whole]

    @property
    def loose(self) -> list[int]:
        """The columns of the signals that no full code holds."""
        return sorted(column for group in self if not group.reading.whole for column in group.columns)

    def facts(self, rules: Rules) -> dict[str, list[dict[str, Any]]]:
        """What a recording says of them."""
        codes = [
            {
                "site": group.site, "before": group.before, "dictionary": group.path, "bias": 0.0, "feature": None,
                "sha256": self._hash(group),
                "n_features": group.reading.dictionary.n_features if group.reading.dictionary else 0,
            }
            for group in self.whole
        ]  # fmt: skip
        at = {column: group.site for group in self for column in group.columns}
        signals = [
            {
                "name": s.name, "site": at[column], "before": s.before, "feature": s.of.feature, "bias": s.bias,
                "sha256": self._sources.sha256(s.of),
            }
            for column in self.loose
            for s in (rules.signals[column],)
        ]  # fmt: skip
        return {"codes": codes, "signals": signals}


def _width(dictionary: Dictionary | None, vector: Tensor | None) -> int:
    return len(vector) if vector is not None else dictionary.d_in if dictionary is not None else 0
