"""A run's folder: where everything in it is, and how its parts are opened again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from monoscope import folder
from monoscope.app import plan as plans
from monoscope.app import windows
from monoscope.app.at_hand import at_hand
from monoscope.app.plan import TIMINGS
from monoscope.app.reading import Reader
from monoscope.catalogue.annotations import Annotations
from monoscope.catalogue.store import Catalogue
from monoscope.concepts import ConceptBits
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel, load_model
from monoscope.text.store import TokenStore


class Run:
    """A folder that quickstart, or the verbs one by one, filled. Parts are opened when asked for."""

    def __init__(self, path: str | Path) -> None:
        """Open the folder.

        Raises:
            MonoscopeError: it is no run's folder.
        """
        self.path = Path(path)
        self.plan = plans.load(self.path)
        self.bits: ConceptBits | None = None  # what the concepts say of the catalogued text, once they were asked

    @cached_property
    def lm(self) -> LanguageModel:
        """The model, checked to be the one of the plan.

        Raises:
            MonoscopeError: its weights have changed since.
        """
        lm = load_model(self.plan.model)
        if lm.fingerprint != self.plan.fingerprint:
            raise MonoscopeError(
                f"{self.plan.model} is not the model that this run was made with: its weights differ",
                where=str(self.path),
                fix="restore the model, or make a new run",
            )
        windows.cut(lm, self.plan.window, self.plan.eos_first)
        return lm

    @cached_property
    def store(self) -> TokenStore:
        """The text."""
        return TokenStore(self.path / "text")

    @cached_property
    def dictionary(self) -> Dictionary:
        """The dictionary.

        Raises:
            MonoscopeError: the run has none, or it is damaged.
        """
        path = self.path / "dictionary"
        if not path.is_dir():
            swept = self.path / "sweep"
            raise MonoscopeError(
                "this is a sweep, whose dictionaries lie in its points"
                if swept.is_dir()
                else "the run has no dictionary",
                where=str(self.path),
                fix=f"name one or all of {swept}/*" if swept.is_dir() else "train it: the same command goes on",
            )
        return io.load(path)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The catalogue, with what searching it may need of the model."""
        made = Catalogue(self.path)
        made.at_hand = at_hand(self)
        return made

    @cached_property
    def controls(self) -> dict[str, Catalogue]:
        """The catalogues of the run's controls, by the control's name; those that have none are left out."""
        found = sorted(path.parent for path in (self.path / "controls").glob("*/catalogue.sqlite"))
        return {path.name: Catalogue(path, store=self.store) for path in found}

    @cached_property
    def annotations(self) -> Annotations:
        """What people say of the catalogue's features."""
        return Annotations(self.path, self.catalogue.facts["key"], len(self.catalogue))

    @cached_property
    def reader(self) -> Reader:
        """What reads a text with this run's model and features."""
        return Reader(self.lm, self.plan.site, self.dictionary, self.catalogue)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """``evaluation.json``, or None before it is written."""
        path = self.path / "evaluation.json"
        return folder.read_json(path) if path.is_file() else None

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent in each step so far, interrupted attempts included."""
        path = self.path / TIMINGS
        return json.loads(path.read_text()) if path.is_file() else {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time that the block takes to ``timings``, also when it is interrupted."""
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            folder.write_json(self.path / TIMINGS, {**self.timings, step: round(self.timings.get(step, 0) + took, 2)})
