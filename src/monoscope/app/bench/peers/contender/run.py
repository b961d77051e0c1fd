"""Train, time and judge."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .judged import judged
from .kept import Kept, Progress, interruptions
from .libraries import contender, versions
from .lines import refuse, say
from .trainer import Contender, bury

PROBE = 256  # rows on which the L0 is watched
GAIN, PROPORTION = 0.1, 1.0  # of leading a penalty's coefficient to a wanted L0


def run(name: str, path: str, setting: dict[str, Any]) -> None:
    """Train, time and judge.

    SETTING: ``features``, ``k``, ``batch``, ``steps``, ``rate``, ``seed``, ``autocast``, ``threads`` (0: as it is),
    ``dead`` (share of features made dead at the start), ``rows`` (that are trained on, the first of the file),
    ``held_out`` (the last, judged; 0: nothing is), ``windows`` (name: [first step, last]), and where a training is long
    ``kept``: the file that holds it while it is under way, which is whoever's that started this to delete.
    """
    torch.manual_seed(setting["seed"])
    if setting["threads"]:
        torch.set_num_threads(setting["threads"])
    held = np.load(path, mmap_mode="r")
    made = contender(name, setting, held.shape[1])
    bury(made, setting["dead"])
    path_kept = setting.pop("kept", None)
    kept = Kept(path_kept, {"contender": name, "versions": versions(name.partition(":")[0]), "setting": setting})
    at = train(made, held[: setting["rows"]], setting, kept)
    result: dict[str, Any] = {
        "windows": timings(at.spent, at.l0s, setting["windows"]),
        "seconds": sum(at.spent),
        "elapsed": at.elapsed,
        "finite": made.bias is None or bool(torch.isfinite(made.bias).all()),
    }
    if setting["held_out"]:
        infer, remark = made.infer()
        held_out = held[-setting["held_out"] :]
        result |= {**judged(infer, held_out, setting["features"]), "remark": remark}
        if made.select is not None:
            result["by_selection"] = judged(made.select, held_out, setting["features"])
    say(result=result)


def train(made: Contender, x: np.ndarray, setting: dict[str, Any], kept: Kept) -> Progress:
    """Step through the batches, from where it stopped."""
    at = kept.begin(made)
    for _ in range(at.steps):
        say(step=1, of=setting["steps"])
    source = batches(x, setting["batch"], setting["seed"], at.steps)
    with interruptions() as noted:
        while at.steps < setting["steps"]:
            began = time.perf_counter()
            advance(made, next(source), setting, at)
            at.elapsed += time.perf_counter() - began
            kept.write(made, at, now=bool(noted))
            if noted:
                refuse(f"stopped after {at.steps} of {setting['steps']} steps; the same command goes on from there")
            say(step=at.steps, of=setting["steps"])
    return at


def advance(made: Contender, batch: Tensor, setting: dict[str, Any], at: Progress) -> None:
    """One step, timed. A coefficient that has no wanted L0 of its own is led to one, off the clock."""
    began = time.perf_counter()
    made.step(batch)
    at.spent.append(time.perf_counter() - began)
    at.steps += 1
    if made.lead is not None or setting["windows"]:
        with torch.no_grad():
            at.l0s.append(float((made.code(batch[:PROBE]) != 0).sum()) / min(PROBE, len(batch)))
    if made.lead is not None:
        error = max(-1.0, min(1.0, math.log(max(at.l0s[-1], 0.1) / setting["k"])))
        made.lead(math.exp(GAIN * error + PROPORTION * (error - at.led)))
        at.led = error


def timings(spent: list[float], l0s: list[float], windows: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    """Of each window of steps the median seconds, and the mean L0."""
    return {
        name: {"median": float(np.median(spent[first:last])), "l0": float(np.mean(l0s[first:last]))}
        for name, (first, last) in windows.items()
    }


def batches(x: np.ndarray, size: int, seed: int, skipped: int = 0) -> Iterator[Tensor]:
    """Batches in random order, epoch after epoch, without the first ``skipped``."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for first in range(0, len(x) - size + 1, size):
            skipped -= 1
            if skipped < 0:
                yield torch.from_numpy(np.ascontiguousarray(x[np.sort(order[first : first + size])], dtype=np.float32))
