"""``monoscope bench train``: training speed in turns, beside other libraries and the bare product's limit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from monoscope import progress
from monoscope.app.bench import data, sizes
from monoscope.app.bench.contenders import PEERS, is_ours, penalised
from monoscope.app.bench.process import Failed, contend
from monoscope.app.bench.sizes import Size
from monoscope.errors import MonoscopeError

UNTIMED, WINDOW = 4, 12  # steps before the first window, and in a window of a penalty's training
STEPS, PENALISED_STEPS = 24, 100
RATE = 1e-3  # of the peers; ours has its default
ROWS = 65_536
CLEAR = 1.15  # times as fast as the other way that a peer must be for that way to be left out of later rounds
WAYS: dict[str, dict[str, bool]] = {  # that a peer may run in; the last is SAELens' own option, the others have none
    "fp32": {},
    "autocast": {"autocast": True},
    "compiled": {"autocast": True, "compiled": True},
}


def ways(contender: str) -> list[str]:
    """In which of ``WAYS`` a contender is timed."""
    if is_ours(contender):
        return ["fp32"]
    return [way for way in WAYS if way != "compiled" or contender.startswith("saelens:")]


def rows_for(batch: int) -> int:
    """How many rows are gone over."""
    return max(ROWS, 2 * batch)


@dataclass(frozen=True)
class Trial:
    """What is timed, of every contender alike."""

    contenders: Sequence[str]
    k: int = 32
    batch: int = 4096
    rounds: int = 3
    steps: int | None = None
    dead: float = 0.0
    threads: int = 0
    peers: Path | None = None
    rows: Path | None = None

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("batch", 1), ("rounds", 1), ("steps", 4)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise MonoscopeError(f"{name} is {value}", fix=f"choose at least {least}")
        if not 0 <= self.dead < 1:
            raise MonoscopeError(f"a share of {self.dead} of the features is dead", fix="choose from 0 to below 1")

    def to_json(self) -> dict[str, Any]:
        """The same in JSON, without the paths of this machine."""
        return {**vars(self), "peers": self.peers is not None, "rows": self.rows.name if self.rows else None}

    def setting(self, contender: str, features: int) -> dict[str, Any]:
        """What its process is told."""
        steps = self.steps or (PENALISED_STEPS if penalised(contender) else STEPS)
        untimed = min(UNTIMED, steps // 4)
        windows = {"all": [untimed, steps]}
        if penalised(contender):
            length = min(WINDOW, (steps - untimed) // 2)
            windows = {"start": [untimed, untimed + length], "late": [steps - length, steps]}
        return {
            "features": features, "k": self.k, "batch": self.batch, "steps": steps, "rate": RATE, "seed": 0,
            "autocast": False, "compiled": False, "threads": self.threads, "dead": self.dead,
            "rows": rows_for(self.batch), "held_out": 0, "windows": windows,
        }  # fmt: skip


@dataclass
class Timed:
    """One contender in one way: its rounds, or why there are none."""

    contender: str
    way: str
    batch: int
    rounds: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None

    def speeds(self, window: str) -> list[float]:
        """Rows per second of each round's median step."""
        return [self.batch / found["windows"][window]["median"] for found in self.rounds]

    def to_json(self) -> dict[str, Any]:
        """Medians over rounds with their range, by window; of ours also beside the product."""
        if self.failure is not None:
            return {"failed": self.failure}
        return {name: self._window(name) for name in self.rounds[0]["windows"]}

    def _window(self, name: str) -> dict[str, Any]:
        speeds = self.speeds(name)
        made = {
            "rows_per_second": median(speeds),
            "low": min(speeds),
            "high": max(speeds),
            "rounds": speeds,
            "l0": median(found["windows"][name]["l0"] for found in self.rounds),
        }
        if "product" in self.rounds[0]:
            made["of_limit"] = median(r["product"] / r["windows"][name]["median"] for r in self.rounds)
        return made


def measure(trial: Trial, size: Size) -> dict[str, Any]:
    """One size: every contender in turn, round after round.

    Returns:
        ``size``, ``rows`` (which), ``limit`` and ``contenders``: of each its ``ways`` and the ``way`` that counts.

    Raises:
        MonoscopeError: ours cannot train that, or the rows are too few.
    """
    with _rows(trial, size) as path:
        told = trial.setting("monoscope:topk", size[1])
        limit = contend("product", path, told, trial.peers)
        runs = [Timed(contender, way, trial.batch) for contender in trial.contenders for way in ways(contender)]
        title = sizes.name(size)
        settings = {one: trial.setting(one, size[1]) | {"blocking": limit["blocking"]} for one in trial.contenders}
        total = sum(trial.rounds * settings[run.contender]["steps"] for run in runs)
        with progress.bar(title, total, unit="steps") as report:
            for _ in range(trial.rounds):
                for run in runs:
                    if run.failure is None and not _slower(run, runs):
                        setting = settings[run.contender] | WAYS[run.way]
                        _take(run, path, setting, trial, report)
    found = {
        "size": title,
        "rows": path.name if path == trial.rows else "made up",
        "limit": _limit(limit, runs, trial.batch),
        "contenders": {one: _counted([run for run in runs if run.contender == one]) for one in trial.contenders},
    }
    return found | {"times_as_fast": times(found)}


def _take(run: Timed, path: Path, setting: dict[str, Any], trial: Trial, report: progress.Report) -> None:
    """One round of one run; of a peer that fails, why."""
    try:
        found = contend(run.contender, path, setting, trial.peers, report=report)
    except Failed as error:
        run.failure = str(error)
        return
    if found["finite"]:
        run.rounds.append(found)
    else:
        run.failure = "its weights are not finite"


def _slower(run: Timed, runs: Sequence[Timed]) -> bool:
    """Whether a contender's other way has been clearly faster."""
    others = [o for o in runs if o.contender == run.contender and o is not run and o.rounds]
    if not run.rounds:
        return False
    window = next(iter(run.rounds[0]["windows"]))
    return any(median(o.speeds(window)) > CLEAR * median(run.speeds(window)) for o in others)


def _counted(ways: Sequence[Timed]) -> dict[str, Any]:
    """All ways of a contender, and the faster one, by what is timed last."""
    found = {run.way: run.to_json() for run in ways}
    fit = [run for run in ways if run.failure is None]
    best = max(fit, key=lambda run: median(run.speeds(list(run.rounds[0]["windows"])[-1])), default=None)
    return {"way": best.way if best else None, "ways": found}


def _limit(limit: dict[str, Any], runs: Sequence[Timed], batch: int) -> dict[str, Any]:
    """The product's speed in our processes, its precision and how it was blocked."""
    took = [found["product"] for run in runs for found in run.rounds if "product" in found]
    return {**limit, "rows_per_second": batch / median(took) if took else None}


@contextmanager
def _rows(trial: Trial, size: Size) -> Iterator[Path]:
    """The file, where it has this width; else made-up rows."""
    if trial.rows is not None and data.opened(trial.rows).shape[1] == size[0]:
        data.enough(data.opened(trial.rows), trial.batch)
        yield trial.rows
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        data.make_up(size[0], rows_for(trial.batch), path)
        yield path


def compared(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each of our architectures that was timed, with the peers that do the same, in their counted ways."""
    timed = {name: one["ways"].get(one["way"]) for name, one in found["contenders"].items()}
    ours = [name.partition(":")[2] for name in timed if is_ours(name)]
    return [(kind, {n: timed[n] for n in (f"monoscope:{kind}", *PEERS.get(kind, ())) if n in timed}) for kind in ours]


def faster(ours: dict[str, Any] | None, peer: dict[str, Any] | None, window: str) -> float | None:
    """How many times as fast ours is."""
    if not ours or not peer or window not in ours or window not in peer:
        return None
    return float(ours[window]["rows_per_second"] / peer[window]["rows_per_second"])


def times(found: dict[str, Any]) -> dict[str, dict[str, dict[str, float | None]]]:
    """``{architecture: {peer: {window: how many times as fast ours is}}}``."""
    return {
        kind: {
            name: {window: faster(rows[f"monoscope:{kind}"], one, window) for window in one or {}}
            for name, one in rows.items()
            if not is_ours(name)
        }
        for kind, rows in compared(found)
    }
