"""One edit: an operation along one direction at one site, on some tokens, perhaps only where a condition holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from monoscope import plugins
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.intervene.operations import PACKAGE
from monoscope.signals.direction import Direction as Direction

UNITS = ("value", "max", "norm")


@dataclass(frozen=True)
class Condition:
    """Only tokens at which something else is above a threshold: a feature's value, or the product with a vector.

    Args:
        of: the feature or vector. It is read at ``site``, before any edit there.
        above: the threshold, in the unit ``unit``: "value", or "max" for multiples of the feature's largest value.
        site: where a vector is read; the edit's own site by default. A feature is read where its dictionary reads.
    """

    of: Direction
    above: float = 0.0
    unit: str = "value"
    site: str | None = None

    def __post_init__(self) -> None:
        _check_amount("above", self.above, self.unit, self.of.max, ("value", "max"))


@dataclass(frozen=True)
class Edit:
    """One change to the activations of a site.

    Args:
        operation: a name from ``intervene/operations``.
        of: the feature or vector along which it works.
        dose: how much; operations that take none refuse one.
        unit: of the dose: "value" (the feature's own), "max" (multiples of its largest value on text), or "norm"
            (multiples of the length of the token's own activation, along the direction's unit vector).
        site: where it writes; for a feature by default where its dictionary writes.
        when: the condition, if any.
        start: the first position of a sequence that is edited, counted without padding.
        stop: the first position that no longer is; None for no end.
    """

    operation: str
    of: Direction
    dose: float | None = None
    unit: str = "value"
    site: str | None = None
    when: Condition | None = None
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        plugin = self.plugin
        if plugin.NEEDS_DOSE and self.dose is None:
            raise MonoscopeError(
                f"{self.operation} {self.of} needs a dose", fix="give dose, and unit: value, max or norm"
            )
        if not plugin.NEEDS_DOSE and self.dose is not None:
            raise MonoscopeError(f"{self.operation} takes no dose", fix="leave it out, or use another operation")
        if self.dose is not None:
            units = UNITS if plugin.HAS_UNIT else ("value",)
            _check_amount("dose", self.dose, self.unit, self.of.max, units)
        if self.site is None and self.of.vector is not None:
            raise MonoscopeError(f"where does {self.of} go?", fix="give the site")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise MonoscopeError(f"positions {self.start} to {self.stop}", fix="0 ≤ start < stop")

    @property
    def plugin(self) -> ModuleType:
        """The operation."""
        return plugins.load(PACKAGE, self.operation)


@dataclass(frozen=True)
class Recipe:
    """Edits that belong together, and the model they were made for.

    Args:
        edits: at least one.
        model: the model's name, for people.
        fingerprint: the model's; a recipe that has one is refused by any other model.
        notes: anything worth keeping, such as where the doses come from.
    """

    edits: tuple[Edit, ...]
    model: str = ""
    fingerprint: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.edits:
            raise MonoscopeError("a recipe without edits changes nothing", fix="give it at least one edit")


def _check_amount(name: str, amount: float, unit: str, maximum: float | None, units: tuple[str, ...]) -> None:
    if unit not in units:
        raise unknown_name("unit", unit, units)
    if not math.isfinite(amount):
        raise MonoscopeError(f"{name} = {amount}", fix="give a number")
    if unit == "max" and maximum is None:
        raise MonoscopeError(
            f"{name} is in multiples of a maximum that is not given", fix="give max, or use the unit value"
        )
