"""A recipe that makes a model's text better in the eyes of any Python function: proposed, raced, confirmed.

Plain samples are scored; proposers rank directions by them; candidates at several doses race on further prompts, on a
budget of generated tokens that holds; the winner is tried on prompts that the search never saw, beside random features
at the same dose, other temperatures, and the best of n plain samples. Everything that was generated is a line of a
file, so a search that is stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate, sample
from monoscope.intervene.edit import Recipe
from monoscope.models.language_model import LanguageModel
from monoscope.studies.continuations import GRAM, Sampling, go_on, repeated, surprise
from monoscope.studies.objectives import Objective
from monoscope.studies.proposers import PACKAGE, Samples, Task
from monoscope.studies.racing import Standing, race

PLAIN = "plain"


@dataclass(frozen=True)
class Candidate:
    """A feature to add (``sign`` 1) or to add the opposite of (−1), and who proposed it, with commas between."""

    feature: int
    sign: int
    by: str


class Kept:
    """Lines of JSON that survive a stop: what was generated for whom, and what it scored."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Open or begin the file.

        Raises:
            MonoscopeError: it is of a search with other settings.
        """
        self.path, head = path, json.dumps({"settings": settings}, sort_keys=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if lines and lines[0] != head:
            raise MonoscopeError(
                f"{path} holds a search with other settings", fix="name another file, or remove this one"
            )
        self.lines = [json.loads(line) for line in lines[1:] if line.endswith("}")]
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(head + "\n", encoding="utf-8")
        self.known = {(line["arm"], line["first"], line["last"]): line for line in self.lines}

    @property
    def tokens(self) -> int:
        """Tokens that were generated so far, in this attempt and before."""
        return sum(line["tokens"] for line in self.lines)

    def get(self, arm: str, first: int, last: int, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of an arm on some prompts; made and kept where nothing is."""
        key = (arm, first, last)
        if key not in self.known:
            line = {"arm": arm, "first": first, "last": last, **make()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self.lines.append(line)
            self.known[key] = line
        return self.known[key]


@dataclass
class Search:
    """A model, an objective and prompts; everything that is generated goes through ``said``.

    Args:
        lm: the model.
        objective: what is wanted, ``score(prompt, said)``.
        prompts: as tokens; none of those that the winner is confirmed on.
        sampling: how the model goes on.
        recipe: a recipe of a feature at a dose in multiples of the activation's length, which may be negative.
        kept: where it is written down.
        budget: tokens that are generated at most.
    """

    lm: LanguageModel
    objective: Objective
    prompts: Sequence[Sequence[int]]
    sampling: Sampling
    recipe: Callable[[int, float], Recipe]
    kept: Kept
    budget: int
    arms: dict[str, Recipe | None] = field(default_factory=dict)

    def said(self, arm: str, first: int, last: int) -> dict[str, Any]:
        """What an arm says on some prompts and what that scores; within the budget.

        Raises:
            MonoscopeError: it might take more tokens than are left.
        """

        def make() -> dict[str, Any]:
            if self.kept.tokens + (last - first) * self.sampling.new > self.budget:
                raise MonoscopeError("the budget of tokens is used up", fix="give more of them")
            given = self.prompts[first:last]
            new = go_on(self.lm, given, replace(self.sampling, seed=self.sampling.seed + first), self.arms[arm])
            scores = [self.objective(*pair) for pair in texts(self.lm, given, new)]
            line: dict[str, Any] = {"scores": scores, "tokens": sum(map(len, new))}
            return line | ({"said": new} if arm == PLAIN else {})

        return self.kept.get(arm, first, last, make)

    def samples(self, number: int) -> Samples:
        """Plain samples on the first prompts."""
        self.arms[PLAIN] = None
        made = self.said(PLAIN, 0, number)
        return Samples(self.prompts[:number], made["said"], np.asarray(made["scores"], float))

    def race(
        self, candidates: Sequence[Candidate], doses: Sequence[float], skipped: int,
        progress: Callable[[int, str], None] = lambda pulls, note: None,
    ) -> tuple[dict[str, tuple[Candidate, float]], list[Standing]]:  # fmt: skip
        """Race all candidates at all doses on the prompts after the first ``skipped``; best first."""
        made = {f"{c.feature} {c.sign * dose:+g}": (c, c.sign * dose) for c in candidates for dose in doses}
        self.arms |= {name: self.recipe(c.feature, dose) for name, (c, dose) in made.items()} | {PLAIN: None}
        pulls = (self.budget - skipped * self.sampling.new) // self.sampling.new

        def pull(arm: str, first: int, last: int) -> list[float]:
            scores: list[float] = self.said(arm, skipped + first, skipped + last)["scores"]
            return scores

        return made, race(list(made), PLAIN, pull, pulls, len(self.prompts) - skipped, progress)


def propose(task: Task, each: int) -> list[Candidate]:
    """The ``each`` best of every proposer, best first, each feature and sign once."""
    found: dict[tuple[int, int], Candidate] = {}
    for name in plugins.names(PACKAGE):
        scores = plugins.load(PACKAGE, name).scores(task)
        for feature in np.argsort(-np.abs(np.nan_to_num(scores)), kind="stable")[:each].tolist():
            sign = int(np.sign(np.nan_to_num(scores[feature])))
            if sign:
                said = found.get((feature, sign))
                by = name if said is None else f"{said.by}, {name}"
                found[feature, sign] = Candidate(feature, sign, by)
    if not found:
        raise MonoscopeError(
            "no direction is proposed: all plain samples score alike", fix="give more --samples, or another objective"
        )
    return list(found.values())


def texts(lm: LanguageModel, prompts: Sequence[Sequence[int]], said: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    """Prompts and continuations as text. A character that the two share counts to the continuation."""
    decode = lm.tokeniser.fast.decode
    pairs = []
    for prompt, new in zip(prompts, said, strict=True):
        before = str(decode(list(prompt), clean_up_tokenization_spaces=False)).rstrip("\ufffd")
        whole = str(decode([*prompt, *new], clean_up_tokenization_spaces=False))
        pairs.append((before, whole[len(before) :]))
    return pairs


# --- confirmation -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way of getting better text: steered or not, at a temperature, the best of ``n``; several recipes are runs."""

    name: str
    recipes: tuple[Recipe | None, ...] = (None,)
    temperature: float | None = None
    n: int = 1


@dataclass(frozen=True)
class Outcome:
    """How a way did, with 95 % intervals over prompts; ``gain`` is the paired difference to the first way's score.

    ``perplexity`` is the plain model's, of what was said; ``repetition`` the share of runs of four tokens that a text
    had held before; ``distinct`` the number of different such runs over all texts, as a share; ``cost`` how many tokens
    were generated for a token that is used.
    """

    name: str
    score: Estimate
    gain: Estimate
    perplexity: Estimate
    repetition: Estimate
    distinct: float
    length: float
    cost: float

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        held = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.to_json() if isinstance(value, Estimate) else value for name, value in held.items()}


def confirm(
    lm: LanguageModel, objective: Objective, given: Sequence[Sequence[int]], ways: Sequence[Way], sampling: Sampling,
    progress: Callable[[int, str], None] = lambda done, note: None,
) -> list[Outcome]:  # fmt: skip
    """Try all ways on the same prompts; the first is what the others are compared with."""
    tried = []
    for way in ways:
        tried.append(_tried(lm, objective, given, way, sampling))
        progress(1, way.name)
    drawn = [sample(sums, _values, sampling.seed) for sums, _ in tried]
    return [
        Outcome(
            way.name, found["score"].estimate(), found["score"].minus(drawn[0]["score"]),
            found["perplexity"].estimate(), found["repetition"].estimate(), distinct,
            float(sums["tokens"].sum() / sums["runs_over"].sum()), float(sums["made"].sum() / sums["tokens"].sum()),
        )
        for way, (sums, distinct), found in zip(ways, tried, drawn, strict=True)
    ]  # fmt: skip


def _tried(
    lm: LanguageModel, objective: Objective, given: Sequence[Sequence[int]], way: Way, sampling: Sampling
) -> tuple[dict[str, np.ndarray], float]:
    """Sums for each prompt, and the share of distinct runs over everything that was said."""
    total: dict[str, np.ndarray] = {}
    distinct = []
    heat = sampling.temperature if way.temperature is None else way.temperature
    for i, recipe in enumerate(way.recipes):
        drawn = []
        for j in range(way.n):
            seed = sampling.seed + 10_007 * i + 1_000_003 * j
            said = go_on(lm, given, replace(sampling, seed=seed, temperature=heat), recipe)
            drawn.append((said, np.array([objective(*pair) for pair in texts(lm, given, said)], float)))
        best = np.argmax(np.stack([scores for _, scores in drawn]), 0)
        chosen = [drawn[b][0][p] for p, b in enumerate(best)]
        counts = repeated(chosen).numpy()
        found = {
            "score": np.array([drawn[b][1][p] for p, b in enumerate(best)]),
            "runs_over": np.ones(len(given)),
            "tokens": np.array([len(new) for new in chosen]),
            "made": np.sum([[len(new) for new in said] for said, _ in drawn], axis=0),
            "surprise": surprise(lm, given, chosen).numpy(),
            "repeats": counts[:, 0], "runs": counts[:, 1],
        }  # fmt: skip
        total = {name: total.get(name, 0) + value.astype(np.float64) for name, value in found.items()}
        runs = [tuple(new[k : k + GRAM]) for new in chosen for k in range(len(new) - GRAM + 1)]
        distinct.append(len(set(runs)) / max(1, len(runs)))
    return total, float(np.mean(distinct))


def _values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "score": totals["score"] / totals["runs_over"],
            "perplexity": np.exp(totals["surprise"] / totals["tokens"]),
            "repetition": totals["repeats"] / totals["runs"],
        }
