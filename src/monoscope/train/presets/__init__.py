"""Published trainings by name, a file each: which architecture, with which options, rate, schedule and batch size.

A file holds ``PRESET``, a ``Preset``; its docstring names the source and what of it this trainer does otherwise. What
the files share is not repeated there: unless a file says otherwise, rows are centred and scaled to a mean squared norm
equal to their width, where most sources scale rows that they do not centre (``centre=False`` leaves the mean in); a
bias that sources take off before the encoder is the encoder's own; warm-up and decay are published in steps and held
here as shares of the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monoscope import plugins

if TYPE_CHECKING:  # the command line's help lists this folder, and does not wait for torch
    from monoscope.train.fit import Recipe

PACKAGE = "monoscope.train.presets"
# Adam as it is usually published: one rate for all weights, and its usual moments
PLAIN = {"decoder_rate": 1.0, "bias_rate": 1.0, "beta1": 0.9, "beta2": 0.999}


@dataclass(frozen=True)
class Preset:
    """One published training.

    Args:
        architecture: a name from the ``dictionary`` folder.
        batch_size: rows a step; None: by the length of the training, ``schedules.usual_batch``.
        warmup, decay, rate: of the learning rate, see ``Schedule``.
        k: active features per row, where the architecture is told; a penalty's weight is among ``options``.
        options: the architecture's, its objective's, and what else ``Recipe.of`` takes by name.
    """

    architecture: str
    batch_size: int | None
    warmup: float
    decay: float
    rate: float | None = None
    k: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """The options, and those of the learning rate: what ``Recipe.of`` takes by name, apart from ``k``."""
        rate = {} if self.rate is None else {"rate": self.rate}
        return {**self.options, **rate, "warmup": self.warmup, "decay": self.decay}


def names() -> list[str]:
    """The names of all presets, as they are typed."""
    return [name.replace("_", "-") for name in plugins.names(PACKAGE)]


def preset(name: str) -> Preset:
    """The preset ``name``, with dashes or underscores; or that of a module elsewhere, by its dotted name.

    Raises:
        MonoscopeError: there is none; the message names the nearest.
    """
    found: Preset = plugins.load(PACKAGE, name.replace("-", "_")).PRESET
    return found


def recipe(name: str, n_features: int, **changes: Any) -> Recipe:
    """The recipe of the preset ``name`` for a dictionary of ``n_features`` features.

    Its batch size is not part of a recipe: pass ``preset(name).batch_size`` where rows are made into batches.

    Args:
        name: see ``names``.
        n_features: number of features.
        changes: what is to differ, by the names that ``Recipe.of`` takes: ``k``, ``l0``, ``seed``, ``rate``, …
    """
    from monoscope.train.fit import Recipe

    found = preset(name)
    return Recipe.of(found.architecture, n_features, **{"k": found.k, **found.arguments, **changes})
