"""Seeking a recipe for a run's model: proposals from the run's features, a race, and a confirmation beside controls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from monoscope import folder, progress
from monoscope.app import steering
from monoscope.app.plan import FIT, TEST, TRAIN
from monoscope.app.removing_table import cell
from monoscope.app.run import Run
from monoscope.concepts import concept
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.intervene.edit import Direction, Edit, Recipe
from monoscope.studies.continuations import Sampling, beginnings
from monoscope.studies.objectives import objective
from monoscope.studies.proposers import Samples, Task
from monoscope.studies.proposers.attribution import gradient
from monoscope.studies.recipe_search import PLAIN, Candidate, Kept, Outcome, Search, Way, confirm, propose
from monoscope.visible import safe

BEGINS = "first_after_blank_line & line_indent_0"
TEMPERATURES = (0.7, 0.4, 0.0)
BEST_OF = (2, 4)
RANDOM, ALIKE = 2, 3.0  # random features have at most so many times the density, and at least such a part of it


@dataclass(frozen=True)
class Wanted:
    """What is sought and how: see ``monoscope seek --help``."""

    objective: str
    concept: str = ""
    begins: str = BEGINS
    budget: int = 300_000
    samples: int = 256
    candidates: int = 4
    doses: tuple[float, ...] = (0.1, 0.2, 0.4)
    tokens: int = 48
    temperature: float = 1.0
    confirm: int = 256
    longest: int = 48
    batch: int = 128
    seed: int = 0

    @property
    def sampling(self) -> Sampling:
        """How the model goes on."""
        return Sampling(self.tokens, self.temperature, self.seed, self.batch)


def seek(run: Run, wanted: Wanted, kept_in: Path) -> tuple[Recipe, dict[str, Any], list[Outcome]]:
    """Search and confirm. What was generated is kept in a file; the same call goes on from it.

    Returns:
        The winner's recipe, facts of the search, and how all ways did on prompts that it never saw.

    Raises:
        MonoscopeError: no such objective or concept, too little text, or too small a budget.
    """
    judged, lm = objective(wanted.objective), run.lm
    where, site = concept(wanted.begins), run.plan.target or run.plan.site
    labelled, rest = _labelled(run, wanted.concept), wanted.budget // wanted.tokens - wanted.samples
    if rest < 1:
        raise MonoscopeError("the samples alone use up the budget", fix="give more --budget, or fewer --samples")
    most = wanted.samples + rest // 6  # the last of the race see the most prompts, a small part of its pulls
    given = _prompts(run, (TRAIN, FIT), where, most, wanted)
    digest = content_hash(run.dictionary)
    settings = {"fingerprint": run.plan.fingerprint, "dictionary": digest, **asdict(wanted)}
    kept = Kept(kept_in, {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()})

    def recipe(feature: int, dose: float) -> Recipe:
        made = steering.recipe(run, feature, "add", dose, "norm")
        assert made.edits[0].of.sha256 == digest
        return made

    search = Search(lm, judged, given, wanted.sampling, recipe, kept, wanted.budget)
    with progress.bar("sampling", None, unit="texts") as report:
        samples = search.samples(wanted.samples)
        report(wanted.samples)
    directions = run.dictionary.directions.float()
    units = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
    able = torch.from_numpy(run.catalogue.features["max"] > 0)  # what never fired is not proposed
    proposed = propose(Task(lm, site, units * able[:, None], samples, labelled), wanted.candidates)
    with progress.bar("racing", None, unit="texts") as report:
        made, standings = search.race(proposed, wanted.doses, wanted.samples, report)
    candidate, dose = made[standings[0].arm]
    winner = recipe(candidate.feature, dose)
    facts = {
        "model": run.plan.model, "site": site, "wanted": settings, "tokens": kept.tokens,
        "plain": float(samples.scores.mean()), "proposed": [asdict(c) for c in proposed],
        "standings": [asdict(s) for s in standings],
        "winner": {**_described(run, candidate), "dose": dose},
    }  # fmt: skip
    slope = _gradient(run, site, samples, abs(dose), kept_in.with_suffix(".npy"))
    tried = _confirmed(
        run, wanted, winner, candidate, slope, _prompts(run, (TEST,), where, wanted.confirm, wanted), kept
    )
    return winner, facts, tried


def _gradient(run: Run, site: str, samples: Samples, dose: float, path: Path) -> Recipe:
    """What needs no dictionary: the samples' own gradient as a vector, at the same dose."""
    slope = gradient(run.lm, site, samples)
    with folder.replacing(path) as partial, partial.open("wb") as file:
        np.save(file, slope.numpy())
    edit = Edit("add", Direction(vector=str(path)), dose, "norm", site)
    return Recipe((edit,), run.plan.model, run.plan.fingerprint)


def _prompts(run: Run, splits: tuple[str, ...], where: Any, number: int, wanted: Wanted) -> list[list[int]]:
    documents = run.store.documents(*splits).tolist()
    return beginnings(run.store, documents, where, number, wanted.longest, min(16, wanted.longest), wanted.seed)


def _labelled(run: Run, expression: str) -> dict[int, float]:
    """The F1 of the features whose label is the concept, or holds it; none without a concept."""
    if not expression:
        return {}
    concept(expression)
    columns = run.catalogue.features
    pairs = enumerate(zip(columns["label_concept"].tolist(), columns["label_f1"].tolist(), strict=True))
    return {feature: f1 for feature, (label, f1) in pairs if expression in label and math.isfinite(f1)}


def _described(run: Run, candidate: Candidate) -> dict[str, Any]:
    record = run.catalogue[candidate.feature]
    return {
        **asdict(candidate), "label": record.label.words if record.label else "", "density": record.density,
        "promotes": [token.text for token in record.promoted[:8]],
        "suppresses": [token.text for token in record.suppressed[:8]],
    }  # fmt: skip


def _confirmed(
    run: Run, wanted: Wanted, winner: Recipe, candidate: Candidate, slope: Recipe, given: list[list[int]], kept: Kept
) -> list[Outcome]:
    """The winner beside random features and the gradient at its dose, other temperatures, and the best of n."""
    density, dose = run.catalogue.features["density"], winner.edits[0].dose
    own = density[candidate.feature]
    near = np.flatnonzero((density > own / ALIKE) & (density < own * ALIKE))
    near = near[near != candidate.feature]
    drawn = np.random.default_rng(wanted.seed).permutation(near)[:RANDOM].tolist()
    controls = tuple(steering.recipe(run, feature, "add", dose, "norm") for feature in drawn)
    paid = 1 + round(kept.tokens / (len(given) * wanted.tokens))
    ways = [Way(PLAIN), Way("steered", (winner,)), Way("random features", controls), Way("gradient", (slope,))]
    ways += [Way(f"temperature {t:g}", temperature=t) for t in TEMPERATURES if t < wanted.temperature]
    ways += [Way(f"steered, temperature {t:g}", (winner,), t) for t in TEMPERATURES[:2] if t < wanted.temperature]
    ways += [Way(f"best of {n}", n=n) for n in (*BEST_OF, paid) if n > 1]
    ways = list({way.name: way for way in ways if way.recipes}.values())
    sampling = replace(wanted.sampling, seed=wanted.seed + 1)
    with progress.bar("confirming", len(ways), unit="ways") as report:
        return confirm(run.lm, objective(wanted.objective), given, ways, sampling, report)


def show(facts: Mapping[str, Any], tried: Sequence[Outcome], console: Console) -> None:
    """Who won the race, and how all ways did on prompts that it never saw."""
    winner, first = facts["winner"], facts["standings"][0]
    console.print(
        f"Feature {winner['feature']} × {winner['dose']:+g} won over {len(facts['standings'])} arms "
        f"({first['gain']:+.3f} on {first['pulls']} prompts of the race, {facts['tokens']:,} tokens in all); "
        f"proposed by {winner['by']}. {safe(winner['label'])}",
        highlight=False, markup=False,
    )  # fmt: skip
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for i, head in enumerate(("", "score, %", "gain", "perplexity", "distinct, %", "tokens", "cost")):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for way in tried:
        perplexity, distinct = cell(way.perplexity, 1).split(" ")[0], f"{100 * way.distinct:.0f}"
        cells = (cell(way.score, 1, 100).split(" ")[0], cell(way.gain, 1, 100), perplexity, distinct)
        table.add_row(way.name, *cells, f"{way.length:.0f}", f"{way.cost:.3g}")
    console.print(table)
    console.print(
        "On prompts that the search never saw; gains are paired, with 95 % intervals.\n"
        "Perplexity is the plain model's; distinct: of runs of four tokens, over all texts;\n"
        "tokens: of a text; cost: tokens generated for each that is used.",
        style="dim",
    )


def to_json(facts: Mapping[str, Any], tried: Sequence[Outcome]) -> dict[str, Any]:
    """The search's facts and ``confirmed``: every way's numbers."""
    return {**facts, "confirmed": [way.to_json() for way in tried]}
