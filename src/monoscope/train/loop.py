"""The training loop: batches in, several dictionaries learning side by side, checkpoints on the way."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.progress import Report, silent
from monoscope.train import checkpoint
from monoscope.train.logs import Tell
from monoscope.train.trainee import Trainee, Units
from monoscope.train.transfer import Pair, moved


@dataclass(frozen=True)
class Data:
    """Training rows that can be read from any row on.

    ``batches(start)`` yields (input, target) pairs of ``batch_size`` rows from row ``start``; an autoencoder's target
    is the input itself, the same object. ``n_rows`` is how many are trained on; ``held_out`` are rows beyond those.
    """

    batches: Callable[[int], Iterator[Pair]]
    n_rows: int
    batch_size: int
    sample: Pair
    held_out: Float[Tensor, "n d_in"]


@dataclass(frozen=True)
class Keeping:
    """Where and how often a training is saved. Without a folder nothing is."""

    folder: Path | None = None
    every_seconds: float = 30.0
    plan: Mapping[str, Any] = field(default_factory=dict)


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

    With a folder, a checkpoint found there is gone on from, and Ctrl-C saves one before it is passed on. ``logs`` are
    told of every step, as ``log.jsonl`` in that folder is.

    Raises:
        MonoscopeError: the rows ended early, or a loss is not finite.
    """
    device = next(iter(trainees.values())).device
    units = Units.of(*data.sample).to(device)
    facts = checkpoint.restore(keeping.folder, trainees, keeping.plan) if keeping.folder else None
    seen = int(facts["seen"]) if facts else 0
    report(seen)
    saved = time.monotonic()
    target = data.n_rows // data.batch_size * data.batch_size
    with _asked_to_stop() as asked, _log(keeping.folder) as log:
        for x, y in moved(data.batches(seen) if seen < target else (), device):
            pair = _normalised(x, y, units)
            shown = {who: one.step(*pair, seen, target) for who, one in trainees.items()}
            seen += len(x)
            log({"tokens": seen, **shown})
            for tell in logs:
                tell(seen, shown)
            first = next(iter(shown.values()))
            report(len(x), " ".join(f"{name} {value:.3g}" for name, value in first.items() if value))
            if keeping.folder and (asked() or time.monotonic() - saved > keeping.every_seconds):
                checkpoint.save(keeping.folder, trainees, {"plan": dict(keeping.plan), "seen": seen})
                saved = time.monotonic()
            if asked():
                raise KeyboardInterrupt
            if seen >= target:
                break
    if seen < target:
        raise MonoscopeError(
            f"the activations ended after {seen:,} rows of {target:,}", fix="give more data, or ask for fewer tokens"
        )
    held_out = (data.held_out.to(device) - units.mean_in) / units.scale_in
    return {who: one.finish(units, held_out) for who, one in trainees.items()}


def _normalised(x: Tensor, y: Tensor, units: Units) -> Pair:
    first = x.float().sub(units.mean_in).div_(units.scale_in)
    return first, first if y is x else y.float().sub(units.mean_out).div_(units.scale_out)


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
def _log(folder: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Every step's loss terms as JSON lines in ``log.jsonl``."""
    if folder is None:
        yield lambda row: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        yield lambda row: print(json.dumps(row), file=file)


def sample_of(batches: Iterator[Pair], rows: int) -> Pair:
    """The first ``rows`` rows, as fp32 on the CPU: what normalisation and initialisation look at."""
    found: list[Pair] = []
    count = 0
    for x, y in batches:
        found.append((x, y))
        count += len(x)
        if count >= rows:
            break
    if not found:
        raise MonoscopeError("there are no activations", fix="give more data")
    left = torch.cat([x.float() for x, _ in found]).cpu()
    return left, left if found[0][0] is found[0][1] else torch.cat([y.float() for _, y in found]).cpu()
