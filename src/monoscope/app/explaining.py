"""Explaining a run's features with an explainer of the folder: which features, by whom, and what it comes to."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console

from monoscope import progress
from monoscope.app import asking, control_catalogues
from monoscope.app.asking import Asking
from monoscope.app.run import Run
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.interpret import explaining
from monoscope.interpret.asking.account import Account, Estimate
from monoscope.interpret.asking.asker import NO_BUDGET, Asker
from monoscope.interpret.chat import Prompt
from monoscope.interpret.explainers import FIRES_ON, PROMOTES, Task
from monoscope.interpret.explaining import Outcome
from monoscope.visible import plain

SHOWN = 12  # explanations, and failures, that a terminal is shown


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which features are explained; by default all that ever fire.

    Parameters
    ----------
    features
        Feature numbers, with commas between.
    best
        So many, those whose labels are best borne out first.
    least_density
        Only features that fire on at least this fraction of tokens.
    most_density
        Only features that fire on at most this fraction of tokens.
    """

    features: str | None = None
    best: int | None = None
    least_density: float | None = None
    most_density: float | None = None

    def of(self, catalogue: Catalogue) -> list[int]:
        """Their numbers.

        Raises:
            MonoscopeError: a number is none or is not in the catalogue, or the flags contradict each other or leave no
                feature.
        """
        if self.features is not None:
            others = {"--best": self.best, "--least-density": self.least_density, "--most-density": self.most_density}
            wrong = next((flag for flag, value in others.items() if value is not None), None)
            if wrong is not None:
                raise MonoscopeError(f"{wrong} chooses features, and --features names them", fix="give one of the two")
            return numbers(self.features, len(catalogue))
        columns = catalogue.features
        density = columns["density"]
        low, high = self.least_density or 0.0, 1.0 if self.most_density is None else self.most_density
        kept = np.flatnonzero((density > 0) & (density >= low) & (density <= high))
        if self.best is not None:
            if self.best < 1:
                raise MonoscopeError("--best must be at least 1", fix="leave it out for all features")
            quality = np.nan_to_num(columns["label_f1_low"][kept], nan=-1.0)
            kept = np.sort(kept[np.argsort(-quality, kind="stable")[: self.best]])
        if not len(kept):
            raise MonoscopeError("no feature is that dense", fix="widen --least-density and --most-density")
        found: list[int] = kept.tolist()
        return found


def numbers(text: str, n_features: int) -> list[int]:
    """Feature numbers, each once, in the order given.

    Raises:
        MonoscopeError: a part is no number, or there is no such feature, or there is none at all.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((p for p in parts if not (p.isascii() and p.isdigit() and int(p) < n_features)), None)
    if wrong is not None or not parts:
        what = f"{wrong!r} is no feature of this catalogue" if parts else "--features names none"
        raise MonoscopeError(what, fix=f"write for example --features 1,2,3; numbers go to {n_features - 1}")
    return list(dict.fromkeys(map(int, parts)))


@dataclass(frozen=True)
class Job:
    """An explainer, its task, and the model that it asks, if it asks one. A context manager, which closes the model.

    ``controls`` are the same task on the run's controls, by their names.
    """

    explainer: str
    task: Task
    asker: Asker | None
    redo: bool
    controls: Mapping[str, Task] = field(default_factory=dict)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.asker is not None:
            self.asker.close()

    def _stopped(self) -> str:
        """Why no more can be asked; "" while it can."""
        return "" if self.asker is None else self.asker.stopped

    def estimate(self) -> Estimate:
        """What it would take; sends nothing.

        Raises:
            MonoscopeError: the explainer asks no model.
        """
        if self.asker is None:
            raise MonoscopeError(f"{self.explainer} asks no model, so it costs nothing", fix="leave out --estimate")
        left = explaining.pending(self.explainer, self.task, redo=self.redo)
        with progress.bar("estimating", len(self.task.questions) * len(left.features), unit="questions") as report:
            return self.asker.estimate(_told(explaining.load(self.explainer).prompts(left), report))

    def run(self) -> Outcome:
        """Explain, with a bar that says what has been spent; the controls first, so that they stand beside."""
        for name, task in self.controls.items():
            title = f"explaining ({self.explainer}, {name.replace('_', ' ')})"
            with progress.bar(title, len(task.features), unit="features") as report:
                explaining.explain(self.explainer, task, redo=self.redo, progress=report)
        account = Account() if self.asker is None else self.asker.account
        with progress.bar(f"explaining ({self.explainer})", len(self.task.features), unit="features") as report:

            def tell(features: int) -> None:
                tokens = account.prompt_tokens + account.answer_tokens
                report(features, f"{account.requests:,} requests, {tokens:,} tokens")

            return explaining.explain(self.explainer, self.task, redo=self.redo, stopped=self._stopped, progress=tell)

    def to_json(self, outcome: Outcome) -> dict[str, Any]:
        """All that this explainer says of the chosen features, what failed, and what was spent."""
        return {
            "explanations": to_json(self.task.catalogue, outcome.explainer, set(self.task.features)),
            "failures": [{"id": feature, "why": why} for feature, why in outcome.failures.items()],
            "left": outcome.left,
            "account": None if self.asker is None else self.asker.account.to_json(),
        }

    def complain(self, outcome: Outcome) -> None:
        """Make an error of a server that let no one in; a budget that is used up is none.

        Raises:
            MonoscopeError: nothing more could be asked.
        """
        why = self._stopped()
        if why and why != NO_BUDGET:
            raise MonoscopeError(
                f"nothing more was asked: {why}",
                fix="check --url, --model and the key; what was explained is kept, and the same command goes on",
            )


def _told(prompts: Iterable[Prompt], report: progress.Report) -> Iterator[Prompt]:
    for prompt in prompts:
        report(1)
        yield prompt


def job(run: Run, explainer: str, choice: Choice, flags: Asking, promotes: bool, again: int | None, redo: bool) -> Job:
    """Put a job together; everything that can be wrong with the flags is said here, before any work.

    Raises:
        MonoscopeError: a flag is wrong, or means nothing with this explainer.
    """
    asks = explaining.load(explainer).ASKS
    if not asks and (wrong := [*flags.given(), *(["--again"] if again is not None else [])]):
        raise MonoscopeError(f"{wrong[0]} means nothing with {explainer}, which asks no model", fix="leave it out")
    if again is not None and again < 0:
        raise MonoscopeError("--again cannot be below 0", fix="leave it out for the default")
    features = choice.of(run.catalogue)
    asker = flags.open(run.path) if asks else None
    questions = (FIRES_ON, PROMOTES) if promotes else (FIRES_ON,)
    task = Task(run.catalogue, features, questions, seed=run.plan.seed, model=asker)
    controls = {} if asks or choice.features is not None else control_catalogues.existing(run)
    rivals = {n: replace(task, catalogue=c, features=choice.of(c)) for n, c in controls.items()}
    return Job(explainer, task if again is None else replace(task, again=again), asker, redo, rivals)


def to_json(catalogue: Catalogue, explainer: str | None = None, features: Container[int] | None = None) -> list[dict]:
    """The explanations in a catalogue; of one explainer, of some features."""
    return [
        {"id": e.feature, **{k: v for k, v in asdict(e).items() if k != "feature"}}
        for e in catalogue.explanations()
        if (explainer is None or e.explainer == explainer) and (features is None or e.feature in features)
    ]


def print_outcome(job: Job, outcome: Outcome, console: Console) -> None:
    """What was explained, what was not, and what it cost."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    for e in outcome.written[:SHOWN]:
        promotes = f" · promotes {plain(e.promotes)}" if e.promotes else ""
        say(f"{e.feature:>8}  {(plain(e.fires_on) + promotes).removeprefix(' · ')}")
    if len(outcome.written) > SHOWN:
        say(f"          and {len(outcome.written) - SHOWN:,} more")
    line = f"{len(outcome.written):,} explained by {plain(outcome.explainer)}"
    if outcome.passed_over:
        line += f"; {outcome.passed_over:,} had been explained before (--redo explains them anew)"
    say(line)
    for feature, why in list(outcome.failures.items())[:SHOWN]:
        say(f"{feature:>8}  {'' if job.asker is None else 'no answer to '}{plain(why)}")
    if len(outcome.failures) > SHOWN:
        say(f"          and {len(outcome.failures) - SHOWN:,} more without an explanation")
    if outcome.left:
        say(f"{outcome.left:,} were not come to; the same command goes on from there")
    if job.asker is not None:
        say(asking.spent_in_words(job.asker.account))


def in_words(estimate: Estimate) -> str:
    """An estimate for people."""
    asked = estimate.prompts - estimate.cached
    known = f" ({estimate.cached:,} more are known from before)" if estimate.cached else ""
    line = (
        f"{asked:,} questions{known}: about {estimate.prompt_tokens:,} tokens of prompts, "
        f"at most {estimate.answer_tokens:,} of answers"
    )
    if estimate.most is None:
        return line
    return f"{line}; about {estimate.cost:.4f} for the prompts, at most {estimate.most:.4f} with the longest answers"
