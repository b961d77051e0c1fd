"""Fitting a dictionary to activations: what ``ms.fit`` and ``monoscope train`` both do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monoscope import progress
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError
from monoscope.ops import devices
from monoscope.ops.room import reserved
from monoscope.ops.usual import usual
from monoscope.train import rows
from monoscope.train.loop import Data, normalised, train
from monoscope.train.objective import Objective, objective
from monoscope.train.options import COUNT, NOT_NEGATIVE, SEED, SOME, SWITCH, Choice, check
from monoscope.train.schedules import Schedule
from monoscope.train.trainee import NORMS, Normalising, Trainee

OF_ANY = ("rate", "warmup", "decay", "warmup_shape", *asdict(Normalising()))  # options of any training


@dataclass(frozen=True)
class Recipe:
    """What is trained: an architecture with its settings, an objective with its options, a schedule, a seed."""

    architecture: str
    n_features: int
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    frozen: tuple[str, ...] = ()
    seed: int = 0
    normalising: Normalising = field(default_factory=Normalising)

    @classmethod
    def of(
        cls,
        name: str,
        n_features: int,
        *,
        k: int | None = None,
        l0: float | None = None,
        skip: bool = False,
        rate: float | None = None,
        warmup: float = 0.05,
        decay: float = 0.2,
        warmup_shape: str = "linear",
        centre: bool = True,
        scale: bool = True,
        norm: str = "width",
        row_norm: bool = False,
        frozen: Iterable[str] = (),
        seed: int = 0,
        **options: Any,
    ) -> Recipe:
        """A recipe from plain arguments: what the architecture does not know is the objective's.

        ``k`` and ``l0`` are the number of active features wanted of a row, on average or of each, as the architecture
        has it; ``l0`` overrules ``k``. Without either, what selects takes 32, and a penalty keeps its weight, as it
        does with a ``k`` of 0.

        Raises:
            MonoscopeError: no such architecture or option, a number that cannot be, or an L0 that the architecture
                cannot be told.
        """
        kind = architecture(name)
        known = objective(kind.objective).defaults
        settings = {key: options.pop(key) for key in list(options) if key in kind.settings}
        given = {"n_features": n_features, "k": k, "l0": l0, "seed": seed}
        needed = {**given, "n_features": 1, "seed": 0}
        check(name, given, needed, {"n_features": SOME, "k": COUNT, "l0": NOT_NEGATIVE, "seed": SEED})
        n_features, seed = int(n_features), int(seed)
        wanted = l0 if l0 is not None else k
        if wanted is not None and wanted > n_features:
            raise MonoscopeError(
                f"k = {wanted:g} with {n_features} features", fix="choose k between 1 and the number of features"
            )
        if "k" in kind.settings:
            settings["k"] = whole(name, 32 if wanted is None else wanted)
        elif (wanted or l0 is not None) and "l0" in known:  # a k of 0 asks for nothing
            if wanted is not None and 2 * wanted > n_features > 1:
                raise MonoscopeError(
                    f"an L0 of {wanted:g} with {n_features} features: a penalty leads to at most half of them",
                    fix=f"choose up to {n_features / 2:g}, or an architecture that selects",
                )
            options["l0"] = wanted
        elif l0 is not None:
            raise MonoscopeError(
                f"{name} has no setting for its L0", fix="set its penalty, or use another architecture"
            )
        unknown = set(options) - set(known)
        if unknown:
            valid = [*kind.settings, *known, *OF_ANY]
            raise MonoscopeError(f"{name} has no option {sorted(unknown)[0]!r}", fix=f"its options: {', '.join(valid)}")
        check(name, options, known, objective(kind.objective).allowed)
        check(name, {"skip": skip}, {"skip": False}, {"skip": SWITCH})
        asked = {"centre": centre, "scale": scale, "norm": norm, "row_norm": row_norm}
        check("what is done to rows", asked, asked, {**dict.fromkeys(asked, SWITCH), "norm": Choice(NORMS)})
        schedule = Schedule(rate, warmup, decay, warmup_shape)
        settings |= {"skip": True} if skip else {}
        normalising = Normalising(centre, scale, norm, row_norm)
        return cls(name, n_features, settings, options, schedule, tuple(frozen), seed, normalising)

    @property
    def objective(self) -> type[Objective]:
        """The objective's class."""
        return objective(architecture(self.architecture).objective)

    @property
    def calibrates(self) -> bool:
        """Whether the end of the training wants rows that were not trained on. Without a wanted L0 most do not."""
        return self.objective.wants_rows(self.options)

    def trainee(
        self, data: Data, provenance: dict[str, Any] | None = None, device: str | torch.device = "cpu"
    ) -> Trainee:
        """A new dictionary, initialised on the data's first rows, ready to be trained on ``device``.

        It begins with the same numbers on every device.

        Raises:
            MonoscopeError: the architecture cannot be trained to reconstruct this target.
        """
        with reserved():
            x, y = data.first(self.objective.first_rows)
            made, goal = self.untrained(x.shape[1], y.shape[1], data.n_rows, transcodes=y is not x)
            made.provenance |= {**(provenance or {}), "seed": self.seed, "n_tokens": data.n_rows}
            goal.begin(made, *normalised(x, y, data.units_for(self.normalising), in_place=True))
            del x, y
        schedule = self.schedule.told(goal.usual_rate(data.n_rows // data.batch_size, self.n_features))
        return Trainee(made.to(device), goal.to(device), schedule, self.frozen, self.normalising)

    def untrained(self, d_in: int, d_out: int, n_rows: int, *, transcodes: bool) -> tuple[Dictionary, Objective]:
        """The dictionary and the objective of a training on ``n_rows`` rows, before any row was seen.

        Raises:
            MonoscopeError: they cannot be, or cannot reconstruct another target than the input (``transcodes``).
        """
        kind = architecture(self.architecture)
        if d_in < 2:
            raise MonoscopeError("rows of one number have no directions", fix="pass rows of two numbers or more")
        if not transcodes and self.settings.get("skip"):
            raise MonoscopeError(
                "the skip map of an autoencoder would be the identity", fix="leave out skip, or name another target"
            )
        if transcodes and self.normalising.row_norm:
            raise MonoscopeError(
                "rows that are each normalised by themselves are what is reconstructed, not another target",
                fix="leave out row_norm (of a preset: row_norm=false), or target",
            )
        if transcodes and self.settings.get("untied") is False:
            raise MonoscopeError(
                f"a {self.architecture} dictionary that reads along what it writes can only reconstruct what it reads",
                fix="leave out untied, or target",
            )
        settings = self.settings | ({"untied": True} if transcodes and "untied" in kind.settings else {})
        made = kind(d_in, self.n_features, d_out, row_norm=self.normalising.row_norm, **settings)
        made.row_norm = False  # until it has learned: what it learns from was normalised before
        if transcodes:  # what is read is not what is decoded, so that is not subtracted from it
            made.provenance["target"] = "another array"
        return made, self.objective(made, n_rows, self.seed, **self.options)


def whole(name: str, k: float) -> int:
    """That number of features.

    Raises:
        MonoscopeError: it is not a whole number, or none.
    """
    if k != int(k) or k < 1:
        raise MonoscopeError(
            f"k = {k:g} for {name}, which has a whole number of features a row", fix="give k (or l0) as one, from 1 on"
        )
    return int(k)


def known_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that the objective of the architecture ``name`` knows."""
    known = objective(architecture(name).objective).defaults
    return {option: value for option, value in options.items() if option in known}


def fit(
    x: Any,
    n_features: int = 3072,
    architecture: str = "batch_topk",
    k: int | None = None,
    n_tokens: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    *,
    target: Any | None = None,
    l0: float | None = None,
    device: str | torch.device | None = None,
    show_progress: bool = True,
    **options: Any,
) -> Dictionary:
    """Learn a dictionary of ``n_features`` features from activations.

    With ``skip=True`` a transcoder has a linear map beside its features, learned with them. With ``row_norm=True`` rows
    are learned, and read ever after, less their own mean and by their own spread.

    Args:
        x: activations: an ``(n, d_in)`` array or tensor, or an iterable of such blocks (then ``n_tokens`` is required).
        n_features: number of features.
        architecture: a name from the ``dictionary`` folder.
        k: active features per row wanted (of each for ``topk``, on average for ``batch_topk`` and penalty methods,
            whose penalty's weight is controlled so that it is reached). None: 32 for what selects; a penalty keeps the
            weight that its option ``penalty`` says.
        n_tokens: rows to train on; None is one epoch. More than the array holds means several epochs. What calibrates
            at the end (``batch_topk``, penalties with ``l0``) does so on a twentieth of the rows, 16,384 at most, that
            are never trained on: random ones of an array, the first of an iterable.
        batch_size: rows per step. None: as ``schedules.usual_batch`` has it for so many rows: 4,096 beyond 6.5 million.
        seed: the same seed gives the same numbers.
        target: what is reconstructed, row-aligned with ``x``: a transcoder. None: ``x`` itself.
        l0: the same as ``k``; of penalty methods it need not be a whole number.
        device: where it is trained, and where the dictionary then lies: ``cpu``, ``cuda``, ``cuda:1``. None: where
            ``x`` lies, if it is a tensor, else the CPU.
        options: the architecture's and its objective's; ``rate``, ``warmup``, ``decay`` and ``warmup_shape`` of the
            learning rate, see ``Schedule``; and ``centre`` and ``scale``: whether rows are centred, and scaled to a
            mean squared norm of their width (or, with ``norm="one"``, of 1), before they are learned from. All of that
            is folded into what is returned; learning rates, penalties and thresholds are meant so.

    Returns:
        The dictionary, in the units of ``x``.

    Raises:
        MonoscopeError: unusable arguments or rows; an iterable that ends before ``n_tokens``; no such device.
    """
    given = {"n_tokens": n_tokens, "batch_size": batch_size}
    check("a training", given, given, dict.fromkeys(given, SOME))
    n_tokens, batch_size = (None if n is None else int(n) for n in given.values())
    place = devices.find(device if device is not None else x.device if isinstance(x, Tensor) else "cpu")
    recipe = Recipe.of(architecture, n_features, k=k, l0=l0, seed=seed, **options)
    back = recipe.calibrates
    with usual():
        if isinstance(x, (np.ndarray, Tensor)) or (hasattr(x, "__array__") and hasattr(x, "shape")):
            data = rows.from_arrays(x, target, batch_size, n_tokens, recipe.seed, hold_back=back)
        else:
            data = rows.from_blocks(x, target, batch_size, n_tokens, hold_back=back)
        with progress.bar("training", data.n_rows, shown=show_progress) as report:
            return train(data, {"main": recipe.trainee(data, device=place)}, report=report)["main"]
