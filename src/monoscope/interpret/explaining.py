"""Running an explainer over a catalogue: what is explained already is passed over, what comes is written at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from monoscope import plugins
from monoscope.catalogue.explanations import Explanation
from monoscope.interpret.explainers import PACKAGE, Explainer, Task, name_of


@dataclass
class Outcome:
    """What explaining came to.

    Args:
        explainer: the name in the catalogue.
        written: explanations that were made now.
        passed_over: features that this explainer had explained before.
        failures: features without an explanation, or without a part of it, and why.
        left: features that were not come to, because no more could be asked.
    """

    explainer: str
    written: list[Explanation] = field(default_factory=list)
    passed_over: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    left: int = 0


def load(name: str) -> Explainer:
    """An explainer by its name.

    Raises:
        MonoscopeError: there is none of this name.
    """
    found: Any = plugins.load(PACKAGE, name)
    return found


def pending(name: str, task: Task, *, redo: bool = False) -> Task:
    """The task without the features that the explainer has answered every question about; with them to ``redo``."""
    if redo:
        return task
    full, wanted = name_of(name, task.model), set(getattr(load(name), "ANSWERS", task.questions))
    told = (e for e in task.catalogue.explanations() if e.explainer == full)
    done = {e.feature for e in told if wanted <= set(e.detail.get("asked", ()))}
    return replace(task, features=[f for f in task.features if f not in done])


def explain(
    name: str,
    task: Task,
    *,
    redo: bool = False,
    stopped: Callable[[], str] = lambda: "",
    progress: Callable[[int], None] = lambda features: None,
) -> Outcome:
    """Explain the features of a task and write what is said into its catalogue, batch by batch.

    Args:
        name: an explainer.
        task: what to explain.
        redo: explain anew what it has explained before.
        stopped: why no more can be asked; "" while it can.
        progress: told how many features have been come to.

    Raises:
        MonoscopeError: there is no such explainer, or it cannot work on this task.
    """
    explainer = load(name)
    left = pending(name, task, redo=redo)
    outcome = Outcome(name_of(name, task.model), passed_over=len(task.features) - len(left.features))
    come_to = 0
    for told in explainer.explanations(left):
        task.catalogue.write_explanations(told.explanations, told.scores)
        outcome.written += told.explanations
        outcome.failures |= told.failures
        news = len({e.feature for e in told.explanations} | set(told.failures))
        come_to += news
        progress(news)
        if why := stopped():
            unasked = [f for f, reason in outcome.failures.items() if reason.endswith(why)]
            come_to -= len(unasked)
            outcome.failures = {f: reason for f, reason in outcome.failures.items() if f not in unasked}
            break
    outcome.left = len(left.features) - come_to
    return outcome
