"""Whose dictionaries find the true features: ours and other libraries', on the same rows, with the same judge.

    python recipes/known_truth.py --peers PEERS/bin/python --seeds 3 --out OUT
    python recipes/known_truth.py --peers PEERS/bin/python --contenders saelens:topk,monoscope:topk --out OUT

Every contender is first trained once with each setting of its grid, with a seed and judged on rows that are used for
nothing else; the setting that recovers most true features is then trained with seeds 0, 1, … and judged. Where a grid
has one setting there is nothing to choose. ``OUT/table`` holds a file for each contender, so the table can be made
piece by piece: what is there is not made again, and the table that is shown is of everything there.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from torch import Tensor

from monoscope import folder
from monoscope.dictionary import io
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.evaluate.known_truth import judge
from monoscope.train.fit import fit
from monoscope.types import Code
from monoscope.worlds import World
from monoscope.worlds.world import HELD_OUT
from truth_grids import Grid

CHOOSER = 1000  # the seed of the trainings that choose a setting
OTHERS = HELD_OUT + (1 << 20)  # the first block of the rows that they are judged on
SHOWN = {"mcc": "MCC", "f1": "F1", "absorption": "absorption", "l0": "L0", "fvu": "FVU"}
CONTROLS = ("random_directions", "shuffled")


@dataclass(frozen=True)
class Contest:
    """What is alike for all contenders."""

    world: World
    peers: Path
    n_features: int
    n_tokens: int
    batch_size: int
    seeds: int
    n_judged: int
    out: Path
    grids: Mapping[str, Grid]


def settings(grid: Grid) -> Iterator[dict[str, Any]]:
    """What a grid holds, a setting at a time."""
    yield from (dict(zip(grid, values, strict=True)) for values in product(*grid.values()))


def train(contest: Contest, contender: str, jobs: list[tuple[dict[str, Any], int]], place: Path) -> list[float]:
    """Train a dictionary for each (setting, seed) into ``place/0``, ``place/1``, …; the processor's seconds of each."""
    fixed = {"features": contest.n_features, "batch": contest.batch_size}
    library, kind = contender.split(":")
    if library != "monoscope":
        written = [
            {"contender": contender, "setting": {**fixed, **setting}, "seed": seed, "out": str(place / str(i))}
            for i, (setting, seed) in enumerate(jobs)
        ]
        folder.write_json(place / "jobs.json", written)
        _run_peer(contest, place)
        return [json.loads((place / str(i) / "seconds.json").read_text()) for i in range(len(jobs))]
    seconds = []
    for i, (setting, seed) in enumerate(jobs):
        began = time.process_time()
        made = fit(
            contest.world.blocks(),
            contest.n_features,
            kind,
            n_tokens=contest.n_tokens,
            batch_size=contest.batch_size,
            seed=seed,
            show_progress=False,
            **setting,
        )
        seconds.append(time.process_time() - began)
        made.save(place / str(i))
    return seconds


def rows_of(contest: Contest) -> Path:
    """The rows that all train on, in a file: those of ``world.blocks()``, in that order."""
    path = contest.out / "rows.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        begun, count = path.with_suffix(".begun"), 0
        rows = np.lib.format.open_memmap(begun, "w+", np.float32, (contest.n_tokens, contest.world.d))
        for block in contest.world.blocks():
            part = block[: contest.n_tokens - count].numpy()
            rows[count : count + len(part)] = part
            count += len(part)
            if count == contest.n_tokens:
                break
        rows.flush()
        begun.rename(path)
    return path


def _run_peer(contest: Contest, place: Path) -> None:
    script = Path(__file__).with_name("truth_peer.py")
    command = [str(contest.peers), str(script), str(rows_of(contest)), str(place / "jobs.json")]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MonoscopeError(
            f"the peers' Python cannot be started: {error}", fix="name it with --peers PEERS/bin/python"
        ) from error
    if run.returncode:
        raise MonoscopeError(f"a peer's training failed:\n{run.stderr[-3000:]}", where=str(place))


def choose(contest: Contest, contender: str, place: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The setting of the contender's grid that recovers most, and what each of them finds; nothing of an only one."""
    sweep = list(settings(contest.grids[contender]))
    if len(sweep) == 1:
        return sweep[0], []
    train(contest, contender, [(setting, CHOOSER) for setting in sweep], place)
    x, truth = contest.world.rows(contest.n_judged, OTHERS)
    tried = [found_by(place / str(i), contest.world, x, truth) for i in range(len(sweep))]
    best = max(range(len(sweep)), key=lambda i: tried[i]["recovered"])
    return sweep[best], [{**setting, **found} for setting, found in zip(sweep, tried, strict=True)]


def contend(contest: Contest, contender: str) -> dict[str, Any]:
    """Choose the contender's setting, train it with every seed, judge it beside its controls."""
    world = contest.world
    with tempfile.TemporaryDirectory(dir=contest.out) as held:
        best, sweep = choose(contest, contender, Path(held) / "sweep")
        seconds = train(contest, contender, [(best, seed) for seed in range(contest.seeds)], Path(held) / "best")
        x, truth = world.rows(contest.n_judged)
        judged = [judge(world, x, truth, io.load(Path(held) / "best" / str(i))) for i in range(contest.seeds)]
    return {
        "contender": contender,
        "setting": best,
        "sweep": sweep,
        "cpu_seconds": seconds,
        "measured": [{name: e.to_json() for name, e in found.items()} for found, _ in judged],
        "controls": [
            {name: {key: e.to_json() for key, e in c.items()} for name, c in beside.items()} for _, beside in judged
        ],
    }


def found_by(place: Path, world: World, x: Tensor, truth: Code) -> dict[str, Any]:
    """What the dictionary there recovers, in brief; one whose training diverged recovers nothing."""
    try:
        made = io.load(place)
    except MonoscopeError as error:
        if "not finite" not in str(error):
            raise
        return {"recovered": 0.0, "diverged": True}
    measured = judge(world, x, truth, made)[0]
    return {name: measured[name].value for name in ("recovered", "mcc", "f1", "l0", "fvu")}


def contenders(text: str, grids: Mapping[str, Grid]) -> list[str]:
    """The names in ``text``, with commas between; all that have a grid, where it is empty."""
    names = text.split(",") if text else list(grids)
    for name in names:
        if name not in grids:
            raise unknown_name("contender", name, grids)
    return names


def run(contest: Contest, names: list[str]) -> list[dict[str, Any]]:
    """Results of all contenders that ``out`` holds, after those that were asked for and are not there are made."""
    place = contest.out / "table"
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = place / f"{name.replace(':', '-')}.json"
        if not path.is_file():
            folder.write_json(path, contend(contest, name))
            print(f"{name}: done", flush=True)
    found = [folder.read_json(path) for path in sorted(place.glob("*.json"))]
    return sorted(found, key=lambda result: -mean(result, "recovered"))


def mean(result: dict[str, Any], name: str) -> float:
    """The mean over seeds of a measure."""
    known = [m[name]["value"] for m in result["measured"] if m[name]["value"] is not None]
    return float(np.mean(known)) if known else math.nan


def table(title: str, n_true: int, results: list[dict[str, Any]]) -> Table:
    """A line for each contender, best first; ``recovered`` is a number of features, with the seeds' interval."""
    shown = Table(title=title)
    for name in ("contender", "setting", "recovered", *SHOWN.values(), "random", "shuffled", "CPU s"):
        shown.add_column(name, no_wrap=True, justify="left" if name in ("contender", "setting") else "right")
    for result in results:
        ends = [(m["recovered"]["low"], m["recovered"]["high"]) for m in result["measured"]]
        low, high = min(e[0] for e in ends), max(e[1] for e in ends)
        controls = [
            max(n_true * (c[control]["recovered"]["value"] or 0.0) for c in result["controls"]) for control in CONTROLS
        ]
        shown.add_row(
            result["contender"],
            " ".join(f"{key} {value:g}" for key, value in result["setting"].items()),
            f"{n_true * mean(result, 'recovered'):.0f} ({n_true * low:.0f}–{n_true * high:.0f})",
            *(f"{mean(result, name):.2f}" for name in SHOWN),
            *(f"{value:.0f}" for value in controls),
            f"{np.mean(result['cpu_seconds']):.0f}",
        )
    return shown
