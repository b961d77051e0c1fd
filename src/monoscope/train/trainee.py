"""One dictionary in training: weights, optimiser's moments, objective. Several learn from the same batches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.ops.adam import adam
from monoscope.train.objective import Objective
from monoscope.train.schedules import Schedule

NORMS = ("width", "one")


@dataclass(frozen=True)
class Normalising:
    """What is done to rows before they are learned from. Whatever it is, it is folded into the finished dictionary.

    Args:
        centre: take off their mean.
        scale: bring their mean squared norm, as it is once they are centred, to what ``norm`` says.
        norm: ``"width"``, as many as they have numbers, or ``"one"``. Weights of penalties and thresholds are meant so.
        row_norm: before that, take off each row its own mean, and divide it by its own spread. This does not fold: what
            comes out is a dictionary with ``row_norm``.
    """

    centre: bool = True
    scale: bool = True
    norm: str = "width"
    row_norm: bool = False


@dataclass(frozen=True)
class Units:
    """How activations were normalised: ``(x − mean) / scale``, so that the mean squared norm equals the width.

    With ``row_norm``, ``x`` is each row normalised by itself.
    """

    mean_in: Float[Tensor, " d_in"]
    mean_out: Float[Tensor, " d_out"]
    scale_in: float
    scale_out: float
    row_norm: bool = False

    @classmethod
    def of(cls, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> Units:
        """The units of a sample.

        Raises:
            MonoscopeError: the sample does not vary.
        """
        means, scales = [], []
        for rows in (x, y):
            mean = rows.mean(0)
            scale = float((rows - mean).square().mean().sqrt())
            if not scale > 0:
                raise MonoscopeError(
                    "all activations are alike", fix="check the site and the text; nothing can be learned here"
                )
            means.append(mean)
            scales.append(scale)
        return cls(means[0], means[1], scales[0], scales[1])

    def only(self, wanted: Normalising) -> Units:
        """The same, without what is not wanted, a mean of 0, a scale of 1; or with rows of mean squared norm 1."""
        found = self
        if not wanted.centre:
            means = torch.zeros_like(self.mean_in), torch.zeros_like(self.mean_out)
            found = replace(found, mean_in=means[0], mean_out=means[1])
        if not wanted.scale:
            return replace(found, scale_in=1.0, scale_out=1.0)
        if wanted.norm == "width":
            return found
        longer = math.sqrt(len(self.mean_in)), math.sqrt(len(self.mean_out))
        return replace(found, scale_in=found.scale_in * longer[0], scale_out=found.scale_out * longer[1])

    def to(self, device: torch.device) -> Units:
        """The same on another device."""
        return replace(self, mean_in=self.mean_in.to(device), mean_out=self.mean_out.to(device))


class Trainee:
    """A dictionary with everything that its training changes.

    Args:
        dictionary: new; ``objective.initialise`` has set its weights, in normalised units.
        objective: what is minimised.
        schedule: the learning rate.
        frozen: names of parameters that are not trained (``("w_dec",)`` is the frozen-decoder control).
        normalising: of the rows that it learns from.

    Raises:
        MonoscopeError: ``frozen`` names what is no parameter.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        objective: Objective,
        schedule: Schedule,
        frozen: Iterable[str] = (),
        normalising: Normalising = Normalising(),
    ) -> None:
        self.dictionary, self.objective, self.schedule = dictionary, objective, schedule
        self.normalising = normalising
        every, left = dict(dictionary.named_parameters()), set(frozen)
        if unknown := left - set(every):
            raise unknown_name("parameter to freeze", min(unknown), every)
        self.parameters = {n: p for n, p in every.items() if n not in left}
        for name, parameter in every.items():
            parameter.requires_grad_(name in self.parameters)
        self.moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in self.parameters.items()}
        self.steps = 0

    @property
    def device(self) -> torch.device:
        """Where it learns: where its dictionary lies."""
        return self.dictionary.w_dec.device

    def step(
        self, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], seen: int, n_tokens: int
    ) -> dict[str, float]:
        """Learn from one batch of normalised rows; returns the loss terms and the L0.

        A skip map learns here, whatever the objective: what it says is taken off the target, and the objective's
        gradient towards the target is its own.

        Raises:
            MonoscopeError: the loss is not finite; the last checkpoint is intact.
        """
        y = self.unskipped(x, y)
        terms = self.objective.losses(self.dictionary, x, y, seen / n_tokens)
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        self._update(self.schedule.at((seen + len(x)) / n_tokens))
        # read at once, and last: a device has all of the step to do while this waits for it
        *numbers, whole = torch.stack([*terms.values(), total]).tolist()
        values = dict(zip(terms, numbers, strict=True))
        if not math.isfinite(whole):
            raise MonoscopeError(
                f"the loss is not finite after {seen:,} tokens: {values}",
                fix="lower the learning rate; a checkpoint from before, where they are kept, is intact",
            )
        self.objective.after_step(self.dictionary, self, x, y.detach(), seen + len(x))
        return {**values, "l0": self.objective.l0}

    def unskipped(self, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> Float[Tensor, "n d_out"]:
        """What the skip map leaves to the features to explain: the target itself, where there is none."""
        skip = self.dictionary.w_skip
        return y if skip is None else y - x @ skip.T

    @torch.no_grad()
    def _update(self, rate: float) -> None:
        self.steps += 1
        gradients = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in self.parameters.items()}
        norm = torch.stack([g.norm() for g in gradients.values()]).norm()
        how: Any = {
            "step": self.steps,
            "betas": self.objective.betas,
            "epsilon": self.objective.gradients.epsilon,
            "scale": self.objective.gradients.scale(norm, self.dictionary.d_out),
        }
        for name, parameter in self.parameters.items():
            first, second = self.moments[name]
            tensors = [t.view(1, -1) if t.ndim == 1 else t for t in (parameter.data, gradients[name], first, second)]
            unit = self.objective.unit_rows and name == self.objective.held
            own = rate * self.objective.rate_of(name, self.dictionary)
            adam(*tensors, rate=own, unit_rows=unit, **how)
            parameter.grad = None

    def forget(self, name: str, rows: Tensor) -> None:
        """Zero Adam's moments of these rows of a parameter."""
        for moment in self.moments.get(name, ()):
            moment[rows] = 0

    def finish(self, units: Units, held_out: Float[Tensor, "n d_in"]) -> Dictionary:
        """The trained dictionary in the model's own units; ``held_out``: normalised rows not trained on.

        No step can follow: the optimiser's moments are let go before the calibration asks for memory.
        """
        self.moments.clear()
        self.objective.finish(self.dictionary, held_out)
        made = self.dictionary.requires_grad_(False)
        if units.scale_in != units.scale_out:  # a transcoder's codes are measured in units of what it writes
            made.scale_input(units.scale_in / units.scale_out)
        made.scale(units.scale_out)
        made.shift(units.mean_in, units.mean_out)
        made.row_norm = units.row_norm
        return made

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs, by name."""
        tensors = {f"dictionary.{n}": t for n, t in self.dictionary.state_dict().items()}
        tensors |= {f"objective.{n}": t for n, t in self.objective.state_dict().items()}
        for name, (first, second) in self.moments.items():
            tensors |= {f"first.{name}": first, f"second.{name}": second}
        return tensors | {"steps": torch.tensor(self.steps)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        parts: dict[str, dict[str, Any]] = {"dictionary": {}, "objective": {}, "first": {}, "second": {}}
        device = self.device
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            if part in parts:
                parts[part][name] = tensor.to(device)
        self.dictionary.load_state_dict(parts["dictionary"])
        for name, tensor in parts["objective"].items():  # buffers may have grown, so they are replaced and not filled
            owner, _, leaf = name.rpartition(".")
            self.objective.get_submodule(owner).register_buffer(leaf, tensor)
        self.moments = {n: (parts["first"][n], parts["second"][n]) for n in self.parameters}
        self.steps = int(tensors["steps"])
