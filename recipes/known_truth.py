"""Train dictionaries in a world whose features are known, and hold what they found against what is there.

    python recipes/known_truth.py                                               topk and batch_topk at the world's L0
    python recipes/known_truth.py --architectures topk,gated --l0 3,4,6 --seeds 3 --out OUT
    python recipes/known_truth.py --world synth_sae_bench --n-features 4096 --n-tokens 200000000 --batch-size 1024

Every dictionary is trained on the same rows and judged on the same held-out ones, beside two controls: the same codes
with random directions, and the same dictionary with its matching to true features shuffled. Shown are means over seeds;
the interval reaches from the lowest end of the seeds' 95 % intervals to the highest. ``OUT`` receives
``known_truth.json`` with every seed's numbers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from rich.console import Console
from rich.table import Table

import truth_grids
import truth_table
from monoscope import folder
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.evaluate import Estimate
from monoscope.evaluate.known_truth import Measured, judge
from monoscope.train import rows
from monoscope.train.fit import Recipe, fit
from monoscope.train.loop import train
from monoscope.worlds import World, preset
from monoscope.worlds.presets import PRESETS

SHOWN = {
    "mcc": "MCC",
    "recovered": "recovered",
    "recovered_by_frequency": "by frequency",
    "f1": "F1",
    "f1_of_learned": "F1 of learned",
    "uniqueness": "unique",
    "absorption": "absorption",
    "hedging": "hedging",
    "l0": "L0",
    "fvu": "FVU",
}
CONTROLS = ("random_directions", "shuffled")
app = App(help=__doc__)

Learner = Callable[[World, str, float, "Plan", int], Dictionary]


def option(text: str) -> tuple[str, Any]:
    """``name=value`` as a keyword argument; numbers are numbers."""
    name, equals, value = text.partition("=")
    if not equals:
        raise MonoscopeError(f"{text!r} is no option", fix="write name=value, for example auxk=0.05")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def over_seeds(runs: list[Measured], name: str) -> Estimate:
    """The mean of several seeds, and the range of their intervals."""
    known = [run[name] for run in runs if name in run and run[name].value is not None]
    if not known:
        return Estimate()
    parts = [np.array([getattr(e, part) for e in known], float) for part in ("value", "low", "high")]
    return Estimate(float(parts[0].mean()), float(parts[1].min()), float(parts[2].max()))


def cell(e: Estimate) -> str:
    """A number and its interval."""
    if e.value is None or e.low is None or e.high is None:
        return "-"
    return f"{e.value:.2f}" if e.low == e.high else f"{e.value:.2f} ({e.low:.2f}–{e.high:.2f})"


def table(title: str, results: list[dict[str, Any]]) -> Table:
    """A column for each dictionary and each of its controls, a line for each measure."""
    shown = Table(title=title)
    shown.add_column("measure", no_wrap=True)
    for result in results:
        shown.add_column(result["name"], justify="right", no_wrap=True)
        for control in CONTROLS:
            shown.add_column(control.replace("_", "\n"), justify="right", style="dim")
    for name, words in SHOWN.items():
        line = [words]
        for result in results:
            line.append(cell(over_seeds(result["measured"], name)))
            controls = (over_seeds([c[control] for c in result["controls"]], name) for control in CONTROLS)
            line += ["-" if e.value is None else f"{e.value:.2f}" for e in controls]
        shown.add_row(*line)
    return shown


@dataclass(frozen=True)
class Plan:
    """What is trained alike in every study."""

    n_features: int
    n_tokens: int
    batch_size: int
    seeds: int
    n_judged: int
    options: dict[str, Any]


def study(world: World, name: str, l0: float, plan: Plan, learn: Learner, words: str = "") -> dict[str, Any]:
    """One architecture at one L0, all seeds."""
    x, truth = world.rows(plan.n_judged)
    measured, controls, seconds = [], [], []
    for seed in range(plan.seeds):
        began = time.perf_counter()
        made = learn(world, name, l0, plan, seed)
        seconds.append(time.perf_counter() - began)
        found, beside = judge(world, x, truth, made)
        measured.append(found)
        controls.append(beside)
    facts = {"name": f"{name} {l0:g}{words}", "architecture": name, "l0": l0, "seconds": seconds}
    return {**facts, "measured": measured, "controls": controls}


def learned(world: World, name: str, l0: float, plan: Plan, seed: int) -> Dictionary:
    """A dictionary of rows of the world."""
    return fit(
        world.blocks(),
        plan.n_features,
        name,
        n_tokens=plan.n_tokens,
        batch_size=plan.batch_size,
        seed=seed,
        l0=l0,
        **plan.options,
    )


def given_the_truth(world: World, name: str, l0: float, plan: Plan, seed: int) -> Dictionary:
    """A dictionary whose directions are the true ones, of which only the encoder is learned."""
    recipe = Recipe.of(name, world.n_true, l0=l0, seed=seed, frozen=("w_dec",), **plan.options)
    back = recipe.calibrates
    data = rows.from_blocks(world.blocks(), None, plan.batch_size, plan.n_tokens, hold_back=back)
    trainee = recipe.trainee(data)
    with torch.no_grad():
        trainee.dictionary.w_dec.copy_(world.directions)
        trainee.dictionary.w_enc.copy_(world.directions)
    return train(data, {"main": trainee})["main"]


def as_json(measured: Measured) -> dict[str, Any]:
    """Numbers for JSON."""
    return {name: estimate.to_json() for name, estimate in measured.items()}


@app.default
def compare(
    *,
    world: str = "small",
    architectures: str = "topk,batch_topk",
    l0: str = "",
    n_features: int | None = None,
    n_tokens: int = 1_000_000,
    batch_size: int = 1024,
    seeds: int = 1,
    rate: float | None = None,
    options: list[str] | None = None,
    n_judged: int = 65_536,
    threads: int = 0,
    ceiling: bool = False,
    peers: Path | None = None,
    contenders: str = "",
    rates: str = "",
    out: Path | None = None,
) -> None:
    """Train, judge, show.

    Args:
        world: a preset's name.
        architectures: names from the ``dictionary`` folder, or dotted modules, with commas between.
        l0: the L0s to train at, with commas between; by default the world's own.
        n_features: features of each dictionary; by default as many as the world has.
        n_tokens: rows to train on.
        batch_size: rows per step.
        seeds: how many seeds of each.
        rate: the learning rate; by default the architecture's.
        options: more options of the architectures, as ``name=value``.
        n_judged: held-out rows to judge on.
        threads: of torch; 0 leaves them.
        ceiling: also give each the true directions and train its encoder alone.
        peers: a Python that has sae-lens, dictionary-learning and eai-sparsify: make the table of ``truth_table.py``,
            in ``out``, instead.
        contenders: of that table, with commas between; by default all.
        rates: learning rates that its contenders are tried with, with commas between; by default those of their grids.
        out: a folder for ``known_truth.json``.
    """
    if threads:
        torch.set_num_threads(threads)
    made = preset(world)
    if peers is not None:
        if out is None:
            raise MonoscopeError("the table needs a folder to be made in", fix="pass --out")
        grids = truth_grids.of(world, rates)
        names = truth_table.contenders(contenders, grids)
        contest = truth_table.Contest(
            made, peers, n_features or made.n_true, n_tokens, batch_size, seeds, n_judged, out.absolute(), grids
        )
        results = truth_table.run(contest, names)
        title = f"{world}: how many of {made.n_true:,} true features are recovered from {n_tokens:,} rows"
        Console(width=None if sys.stdout.isatty() else 170).print(truth_table.table(title, made.n_true, results))
        return
    given = dict(option(text) for text in options or []) | ({} if rate is None else {"rate": rate})
    wanted = [float(part) for part in l0.split(",")] if l0 else [float(round(made.l0))]
    width = made.n_true if n_features is None else n_features
    plan = Plan(width, n_tokens, batch_size, seeds, n_judged, given)
    learners: dict[str, Learner] = {"": learned} | ({", true directions": given_the_truth} if ceiling else {})
    results = [
        study(made, name, each, plan, learn, words)
        for name in architectures.split(",")
        for each in wanted
        for words, learn in learners.items()
    ]
    title = f"{world}: {made.n_true:,} true features in {made.d} dimensions, L0 {made.l0:.1f}; {width:,} learned from"
    console = Console(width=None if sys.stdout.isatty() else 60 + 50 * len(results))
    console.print(table(f"{title} {n_tokens:,} rows", results))
    if out is None:
        return
    facts = {"world": world, "settings": asdict(PRESETS[world]), "true_l0": made.l0, **asdict(plan)}
    written = [
        {
            **result,
            "measured": [as_json(m) for m in result["measured"]],
            "controls": [{name: as_json(m) for name, m in c.items()} for c in result["controls"]],
        }
        for result in results
    ]
    folder.write_json(out / "known_truth.json", {**facts, "dictionaries": written})


if __name__ == "__main__":
    app()
