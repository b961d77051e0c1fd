"""The training loop: batches in, several dictionaries learning side by side, checkpoints on the way."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops.room import reserved, room
from monoscope.ops.row_norm import normed
from monoscope.progress import Report, silent
from monoscope.train import checkpoint, memory
from monoscope.train.logs import Tell
from monoscope.train.trainee import Normalising, Trainee, Units
from monoscope.train.transfer import Pair, moved

SAMPLE = 65_536  # rows that normalisation looks at


@dataclass(frozen=True)
class Data:
    """Training rows that can be read from any row on.

    ``batches(start)`` yields (input, target) pairs of ``batch_size`` rows from row ``start``; an autoencoder's target
    is the input itself, the same object. ``n_rows`` is how many are trained on, ``units`` how they are normalised;
    ``row_units()``, first called before any batch is read, how they are once each is normalised by itself.
    ``first(n)`` reads up to ``n`` of the first rows, before the training; ``held_out()`` reads, after it, inputs that
    were not trained on. Both are fp32, in the data's units, and nobody else's. With ``own`` so are the tensors of
    ``batches``, and may be written over.
    """

    batches: Callable[[int], Iterator[Pair]]
    n_rows: int
    batch_size: int
    units: Units
    row_units: Callable[[], Units]
    first: Callable[[int], Pair]
    held_out: Callable[[], Float[Tensor, "n d_in"]]
    own: bool = False

    @property
    def sample(self) -> Pair:
        """The rows that ``units`` are of, read anew: large, so not for use within a training."""
        return self.first(SAMPLE)

    def units_for(self, wanted: Normalising) -> Units:
        """The units of rows to which that is done."""
        return (self.row_units() if wanted.row_norm else self.units).only(wanted)


@dataclass(frozen=True)
class Keeping:
    """Where and how often a training is saved; without a folder it is not. ``log`` is a file of every step's terms."""

    folder: Path | None = None
    every_seconds: float = 30.0
    plan: Mapping[str, Any] = field(default_factory=dict)
    log: Path | None = None


def train(
    data: Data,
    trainees: Mapping[str, Trainee],
    *,
    keeping: Keeping = Keeping(),
    report: Report = silent,
    logs: Sequence[Tell] = (),
) -> dict[str, Dictionary]:
    """Train all ``trainees`` on the same rows, in one pass, and return their dictionaries in the model's own units.

    They learn on the device that they lie on, all on the same; rows may come from any.

    With a folder, a checkpoint found there is gone on from, and Ctrl-C saves one before it is passed on, as does being
    terminated. ``logs`` are told of every step, after a stop again of those that no checkpoint had; the JSON lines of
    ``keeping.log`` hold each step once.

    Raises:
        KeyboardInterrupt: it was interrupted or terminated.
        MonoscopeError: the rows ended early, or a loss is not finite.
    """
    device = next(iter(trainees.values())).device
    groups = alike(trainees, data, device)
    alone = len(groups) == 1
    facts = checkpoint.restore(keeping.folder, trainees, keeping.plan) if keeping.folder else None
    seen = int(facts["seen"]) if facts else 0
    report(seen)
    saving = _Saving(keeping, trainees, seen if facts else None)
    target = data.n_rows // data.batch_size * data.batch_size
    with memory.kept(), reserved(), _asked_to_stop() as asked, _log(keeping.log, seen) as log:
        for x, y in moved(data.batches(seen) if seen < target else (), device):
            rows = len(x)
            shown: dict[str, dict[str, float]] = {}
            for units, group in groups:
                pair = normalised(x, y, units, in_place=alone and data.own)
                if alone:
                    del x, y  # no batch is held longer than it is needed
                shown |= {who: one.step(*pair, seen, target) for who, one in group.items()}
                del pair
            seen += rows
            log({"tokens": seen, **shown})
            for tell in logs:
                tell(seen, shown)
            first = next(iter(shown.values()))
            report(rows, " ".join(f"{name} {value:.3g}" for name, value in first.items() if value))
            if saving.due(last=seen >= target):
                saving.save(seen)
            if asked() or seen >= target:
                break
        if asked():
            saving.save(seen)
    if asked():  # also where it came while the last step was saved
        raise KeyboardInterrupt
    if seen < target:
        raise MonoscopeError(
            f"the activations ended after {seen:,} rows of {target:,}", fix="give more data, or ask for fewer tokens"
        )
    calibrates = any(one.objective.wants_rows(one.objective.options) for one in trainees.values())
    held_out = (data.held_out() if calibrates else torch.zeros(0, len(data.units.mean_in))).to(device)
    made: dict[str, Dictionary] = {}
    for units, group in groups:
        own, _ = normalised(held_out, held_out, units, in_place=alone)
        made |= {who: one.finish(units, own) for who, one in group.items()}
    return {who: made[who] for who in trainees}


def alike(trainees: Mapping[str, Trainee], data: Data, device: torch.device) -> list[tuple[Units, dict[str, Trainee]]]:
    """Trainees by what is done to the rows that they learn from, each with the units of these."""
    groups: dict[Normalising, dict[str, Trainee]] = {}
    for who, one in trainees.items():
        groups.setdefault(one.normalising, {})[who] = one
    return [(data.units_for(wanted).to(device), group) for wanted, group in groups.items()]


def normalised(
    x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], units: Units, *, in_place: bool = False
) -> Pair:
    """Rows in the units of a training: ``(x − mean) / scale``, fp32; ``in_place`` writes over fp32 ones."""
    if units.row_norm:
        x = y = normed(x).rows
        in_place = True
    first = _centred(x, units.mean_in, in_place).div_(units.scale_in)
    return first, first if y is x else _centred(y, units.mean_out, in_place).div_(units.scale_out)


def _centred(rows: Float[Tensor, "n d"], mean: Float[Tensor, " d"], in_place: bool) -> Float[Tensor, "n d"]:
    fits = in_place and rows.dtype == torch.float32
    return torch.sub(rows, mean, out=rows if fits else room(*rows.shape, device=rows.device))


class _Saving:
    """When and where a training is saved, each step at most once; ``at`` is the step of the checkpoint there."""

    def __init__(self, keeping: Keeping, trainees: Mapping[str, Trainee], at: int | None) -> None:
        self.keeping, self.trainees, self.at = keeping, trainees, at
        self.since = time.monotonic()

    def due(self, *, last: bool) -> bool:
        """Whether as much would be lost as is worth a checkpoint. Calibration, which nothing saves, follows the last
        step: it counts for more, except in trainings so short that they are made again as fast.
        """
        lost, enough = time.monotonic() - self.since, self.keeping.every_seconds
        return lost > enough or (last and (self.at is not None or lost > enough / 2))

    def save(self, seen: int) -> None:
        """Save the step that has ``seen`` so many rows."""
        if self.keeping.folder is None or seen == self.at:
            return
        checkpoint.save(self.keeping.folder, self.trainees, {"plan": dict(self.keeping.plan), "seen": seen})
        self.at, self.since = seen, time.monotonic()


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and termination into a question that the loop asks between steps."""
    stop = False

    def note(*_: Any) -> None:
        nonlocal stop
        stop = True

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread, where signals cannot be set
        before = {}
    try:
        yield lambda: stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _log(path: Path | None, seen: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Steps as JSON lines, after those of the ``seen`` tokens that are trained on already; later ones are cut off."""
    if path is None:
        yield lambda row: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:  # unbuffered: a kill loses no step that a checkpoint has
        file.seek(0)
        file.truncate(sum(map(len, takewhile(lambda line: _tokens_of(line) <= seen, file))))

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps(row).encode() + b"\n")

        yield write


def _tokens_of(line: bytes) -> float:
    """The tokens that a line of the log speaks of; endlessly many where it was never finished, or power failed."""
    try:
        return float(json.loads(line)["tokens"]) if line.endswith(b"\n") else math.inf
    except (ValueError, TypeError, KeyError):
        return math.inf
