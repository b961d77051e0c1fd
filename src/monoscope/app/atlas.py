"""The map of one dictionary's features, or of several dictionaries' on common ground; computed once and kept.

``map.npy`` in the run's folder holds the places, ``map.json`` what they are of and how they were made. A map together
with other runs has the sum of what it shows in its file names.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from monoscope import concepts, folder
from monoscope.app.ui.payloads import number
from monoscope.catalogue.layout import layout, method
from monoscope.errors import MonoscopeError

LISTED = 2_000  # hits of a search that are highlighted, of each dictionary
NONE, OTHER = "no label", "other"
FAMILIES = 8  # that get a colour of their own


@dataclass(frozen=True)
class Part:
    """A dictionary on the map: a name for people, its catalogue, and what its features write."""

    name: str
    catalogue: Any
    directions: Float[np.ndarray, "n_features d"]

    @cached_property
    def living(self) -> Int[np.ndarray, " n"]:
        """The features that fire at all: only they have a place."""
        return np.flatnonzero(np.asarray(self.catalogue.features["density"]) > 0)


class Atlas:
    """A map: what is on it, where, and in which colours. Computed in the background at the first request."""

    def __init__(self, parts: Sequence[Part], path: Path, *, seed: int = 0) -> None:
        """``path`` is the folder that keeps the map.

        Raises:
            MonoscopeError: the dictionaries write vectors of different widths.
        """
        self.parts, self.path, self.seed = list(parts), path, seed
        widths = {part.directions.shape[1] for part in self.parts}
        if len(widths) > 1:
            raise MonoscopeError(
                f"dictionaries that write vectors of {' and '.join(map(str, sorted(widths)))} numbers share no map",
                fix="name runs of one model and site",
            )
        self._lock = threading.Lock()
        self._begun: float | None = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    @cached_property
    def key(self) -> str:
        """A hash over everything that the places depend on."""
        digest = hashlib.sha256(f"{self.seed} {method()}".encode())
        for part in self.parts:
            digest.update(np.ascontiguousarray(part.directions[part.living], dtype=np.float32).data)
        return digest.hexdigest()

    def prepare(self) -> None:
        """What the first look at a kept map takes the longest, done before it; a map that is not kept is not begun."""
        if self.places() is not None:
            _ = self.about

    @property
    def files(self) -> tuple[Path, Path]:
        """Where the places and their description are kept."""
        name = "map" if len(self.parts) == 1 else f"map-{self.key[:8]}"
        return self.path / f"{name}.npy", self.path / f"{name}.json"

    def places(self) -> Float[np.ndarray, "n 2"] | None:
        """The places, part after part; None before they are computed."""
        held, told = self.files
        if not (held.is_file() and told.is_file()) or folder.read_json(told).get("key") != self.key:
            return None
        return np.load(held, allow_pickle=False)

    def compute(self) -> Float[np.ndarray, "n 2"]:
        """The places, computed and kept if they were not.

        Raises:
            MonoscopeError: too few features, or the folder cannot be written.
        """
        with self._lock:
            found = self.places()
            if found is not None:
                return found
            living = np.concatenate([part.directions[part.living] for part in self.parts])
            found = layout(living, seed=self.seed)
            held, told = self.files
            try:
                with held.with_suffix(".partial").open("wb") as file:
                    np.save(file, found)
                held.with_suffix(".partial").replace(held)
                folder.write_json(told, {"key": self.key, "method": method(), "seed": self.seed})
            except OSError as error:
                raise MonoscopeError(
                    f"the map cannot be kept: {error}", where=str(self.path), fix="free some space"
                ) from error
            return found

    def state(self) -> dict[str, Any]:
        """Whether the map is ready; if not, it is being computed from now on.

        Raises:
            Exception: whatever computing it raised.
        """
        if self._error is not None:
            raise self._error
        if self.places() is not None:
            return {"ready": True, **self.about}
        if self._thread is None:
            self._begun = time.monotonic()
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        assert self._begun is not None
        seconds = round(time.monotonic() - self._begun, 1)
        return {"ready": False, "seconds": seconds, "method": method(), "n": sum(len(p.living) for p in self.parts)}

    def _work(self) -> None:
        try:
            self.compute()
        except Exception as error:  # told to whoever asks for the map, instead of to nobody
            self._error = error

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the map shows: method, number of points, dictionaries and families of concepts by name."""
        sets = [{"name": part.name, "size": len(part.living)} for part in self.parts]
        return {"method": method(), "n": sum(len(p.living) for p in self.parts), "sets": sets, "families": self._names}

    @cached_property
    def _families(self) -> list[str]:
        """Each point's family of concepts."""
        known, found = {c.name: c.family for c in concepts.every()}, []
        for part in self.parts:
            concept, kind = (part.catalogue.features[name] for name in ("label_concept", "label_kind"))
            found += [_family(str(concept[i]), str(kind[i]), known) for i in part.living.tolist()]
        return found

    @cached_property
    def _names(self) -> list[str]:
        """The families that have a colour, most frequent first; then what has none of its own."""
        held, counts = np.unique([f for f in self._families if f != NONE], return_counts=True)
        return [*held[np.argsort(-counts, kind="stable")][:FAMILIES].tolist(), OTHER, NONE]

    def data(self) -> bytes:
        """Six columns of float32, little-endian, one after the other: x, y, feature, log10 density, F1 (NaN without a
        label), family (an index into ``families``). Parts follow each other."""
        places = self.compute()
        place = {name: i for i, name in enumerate(self._names)}
        family = [place.get(name, place[OTHER]) for name in self._families]

        def column(name: str) -> np.ndarray:
            return np.concatenate([np.asarray(p.catalogue.features[name], np.float64)[p.living] for p in self.parts])

        columns = [*places.T, column("id"), np.log10(column("density")), column("label_f1"), np.array(family)]
        return b"".join(np.asarray(c, "<f4").tobytes() for c in columns)

    def point(self, index: int) -> dict[str, Any]:
        """What is said of one point.

        Raises:
            MonoscopeError: there is no such point.
        """
        first = 0
        for place, part in enumerate(self.parts):
            if first <= index < first + len(part.living):
                columns, i = part.catalogue.features, int(part.living[index - first])
                numbers = {name: number(columns[name][i]) for name in ("label_f1", "density")}
                top = [t.text for t in part.catalogue[i].top_tokens_by_mean[:5]]
                return {"set": place, "id": i, "label": str(columns["label"][i]), **numbers, "top_tokens": top}
            first += len(part.living)
        raise MonoscopeError(f"there is no point {index}", fix=f"choose one from 0 to {first - 1}")

    def search(self, query: str) -> list[int]:
        """The points whose features match a query."""
        found, first = [], 0
        for part in self.parts:
            hits = [hit.id for hit in part.catalogue.search(query, limit=LISTED)]
            found += (first + np.flatnonzero(np.isin(part.living, hits))).tolist()
            first += len(part.living)
        return found


def _family(concept: str, kind: str, known: Mapping[str, str]) -> str:
    """A label's family: tokens for a list of tokens, else that of the first concept in it that is known by name."""
    if not kind:
        return NONE
    if kind == "token":
        return "tokens"
    named = re.findall(r"[a-z_][a-z_0-9]*", re.sub(r"token\((?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\)", "", concept))
    return next((known[name] for name in named if name in known), OTHER).replace("_", " ")
