"""A training that is under way, kept in a file, so that hours of another library's work are not lost."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from .lines import refuse
from .trainer import Contender

KEEP_EVERY = 300.0  # seconds of training that a power cut may cost


@dataclass
class Progress:
    """How far a training is."""

    steps: int = 0
    led: float = 0.0  # what a coefficient was last led by
    elapsed: float = 0.0  # seconds, of reading rows too
    spent: list[float] = field(default_factory=list)  # seconds of every step
    l0s: list[float] = field(default_factory=list)


def state(part: object) -> dict[str, Any]:
    """The tensors and numbers of a library's object, and the state of its modules and optimisers."""
    held: dict[str, Any] = {}
    modules = getattr(part, "_modules", {})  # where a trainer is itself a module
    for name, value in {**vars(part), **modules}.items():
        if hasattr(value, "load_state_dict"):
            held[name] = value.state_dict()
        elif isinstance(value, Tensor):
            held[name] = value.detach()
        elif isinstance(value, (int, float, list)):
            held[name] = value
    return held


def restore(part: object, held: dict[str, Any]) -> None:
    """Put back what ``state`` found."""
    for name, value in held.items():
        now: Any = getattr(part, name, None)  # a loss, say, is not there before the first step
        if hasattr(now, "load_state_dict"):
            now.load_state_dict(value)
        elif isinstance(now, Tensor) and isinstance(value, Tensor):
            now.data.copy_(value)
        else:
            setattr(part, name, value)


class Kept:
    """The file that holds a training which is under way, so that hours of it are not lost; without a path: none."""

    def __init__(self, path: str | None, facts: dict[str, Any]) -> None:
        self.path, self.facts, self.written = Path(path) if path else None, facts, time.monotonic()

    def begin(self, made: Contender) -> Progress:
        """Go on with what the file has, or at the start where there is none."""
        if self.path is None or not self.path.is_file():
            return Progress()
        try:
            held = torch.load(self.path, weights_only=True)
        except Exception as error:
            refuse(f"{self.path} cannot be read: {error}; delete it to train anew")
        if held["facts"] != self.facts:
            refuse(f"{self.path} is of {held['facts']}, not of {self.facts}; delete it to train anew")
        for part, saved in zip(made.parts, held["parts"], strict=True):
            restore(part, saved)
        torch.set_rng_state(held["random"])
        return Progress(**held["progress"])

    def write(self, made: Contender, at: Progress, *, now: bool = False) -> None:
        """Write the file, where it is time."""
        if self.path is None or not (now or time.monotonic() > self.written + KEEP_EVERY):
            return
        held = {"facts": self.facts, "parts": [state(part) for part in made.parts], "progress": asdict(at)}
        partial = self.path.with_name(f"{self.path.name}.partial")
        torch.save({**held, "random": torch.get_rng_state()}, partial)
        partial.replace(self.path)
        self.written = time.monotonic()


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """Signals to stop, noted instead of followed, so that a step is not left half done."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
