"""``monoscope bench memory``: by how much a training lets resident memory grow, beside a bound."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monoscope.app.bench import data, sizes
from monoscope.app.bench.process import own
from monoscope.app.bench.sizes import Size
from monoscope.errors import MonoscopeError

ROWS = 163_840  # more than one chunk of what is shuffled in memory
STEPS = 60  # several resamplings, the end of what begins as TopK, and more rows than an epoch has
BOUND = "1.5 × (parameters + Adam's two moments) + 4 batches of inputs"
PARTS = ("loop", "fit")
CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Trial:
    """What is trained."""

    architectures: Sequence[str]
    k: int = 32
    batch: int = 4096
    steps: int = STEPS
    threads: int = 0
    rows: int = ROWS

    def __post_init__(self) -> None:
        for name in ("k", "batch", "steps"):
            if getattr(self, name) < 1:
                raise MonoscopeError(f"{name} is {getattr(self, name)}", fix="choose at least 1")

    def to_json(self) -> dict[str, Any]:
        """The same in JSON."""
        return {**vars(self), "bound": BOUND}


def is_measured() -> bool:
    """Whether this system keeps a high-water mark that can be set back: Linux does."""
    return CLEAR_REFS.exists()


def measure(trial: Trial, size: Size) -> dict[str, Any]:
    """One size: of every architecture the growth of the loop and of ``ms.fit``, in bytes, and its ratio to the bound.

    Raises:
        MonoscopeError: that cannot be trained.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        data.make_up(size[0], max(trial.rows, 2 * trial.batch), path)
        found = {name: dict(_parts(name, path, trial, size)) for name in trial.architectures}
    return {"size": sizes.name(size), "architectures": found}


def _parts(name: str, path: Path, trial: Trial, size: Size) -> Iterator[tuple[str, dict[str, float]]]:
    for part in PARTS:
        setting = {
            "part": part, "features": size[1], "k": trial.k, "batch": trial.batch, "steps": trial.steps, "seed": 0,
            "threads": trial.threads,
        }  # fmt: skip
        seen = own("resident", name, path, setting)
        yield part, {**seen, "ratio": seen["growth"] / seen["bound"]}
