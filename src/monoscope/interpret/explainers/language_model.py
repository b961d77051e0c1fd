"""Explanations by a language model that is shown examples of a feature (``examples``) and asked (``prompting``).

What the model answers is checked for form alone: whether it is true is for scorers to say, on the split ``test``, of
which nothing is shown. An answer that is no explanation is asked for again as often as the task says, then given up
with the reason; it never becomes an explanation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monoscope.catalogue.explanations import Explanation
from monoscope.errors import MonoscopeError
from monoscope.interpret import prompting
from monoscope.interpret.asking.asker import answers_again
from monoscope.interpret.asking.structured import sentence, wrong
from monoscope.interpret.chat import Answer, Prompt
from monoscope.interpret.examples import Gallery, Shown
from monoscope.interpret.explainers import FIRES_ON, PROMOTES, Task, Told, name_of

ASKS = True
SILENT = "it never fires on the text that explainers may see"
NO_HEAD = "the catalogue holds no tokens that it promotes"


@dataclass(frozen=True)
class Asked:
    """A question about a feature; ``shown`` is its evidence where that is text."""

    feature: int
    question: str
    prompt: Prompt
    shown: Shown | None = None


def explanations(task: Task) -> Iterator[Told]:
    """Ask about every feature.

    Raises:
        MonoscopeError: there is no model to ask, or the catalogue has no text of the split ``fit``.
    """
    if task.model is None:
        raise MonoscopeError("a language model has to be named", fix="give --url and --model, or --local")
    gallery = Gallery(task.catalogue, task.sizes, seed=task.seed)
    for features in task.batches():
        asked, failures = questions(task, gallery, features)
        done = answers_again(task.model.answer, [a.prompt for a in asked], wrong, task.again)
        by_feature: dict[int, list[tuple[Asked, Answer, list[str]]]] = {}
        for one, (answer, faults) in zip(asked, done, strict=True):
            by_feature.setdefault(one.feature, []).append((one, answer, faults))
        found = [_explanation(task, feature, told) for feature, told in by_feature.items()]
        for feature, told in by_feature.items():
            reasons = [f"{one.question}: {faults[-1]}" for one, answer, faults in told if wrong(answer)]
            if reasons:
                failures[feature] = "; ".join([*([failures[feature]] if feature in failures else []), *reasons])
        yield Told([e for e in found if e is not None], failures)


def prompts(task: Task) -> Iterator[Prompt]:
    """What ``explanations`` would ask first, for estimates; asks nothing."""
    gallery = Gallery(task.catalogue, task.sizes, seed=task.seed)
    for features in task.batches():
        yield from (asked.prompt for asked in questions(task, gallery, features)[0])


def questions(task: Task, gallery: Gallery, features: Sequence[int]) -> tuple[list[Asked], dict[int, str]]:
    """The questions about some features; and, of those that nothing or less can be asked about, why."""
    asked: list[Asked] = []
    failures: dict[int, str] = {}
    for feature in features:
        shown = gallery.show(feature)
        if shown is None:
            failures[feature] = SILENT
            continue
        if FIRES_ON in task.questions:
            asked.append(Asked(feature, FIRES_ON, prompting.fires_on(shown, seed=task.seed), shown))
        if PROMOTES in task.questions:
            record = task.catalogue[feature]
            if record.promoted:
                prompt = prompting.promotes(record.promoted, record.suppressed, seed=task.seed)
                asked.append(Asked(feature, PROMOTES, prompt))
            else:
                failures[feature] = f"{PROMOTES}: {NO_HEAD}"
    return asked, failures


def _explanation(task: Task, feature: int, told: Sequence[tuple[Asked, Answer, list[str]]]) -> Explanation | None:
    """What was said of a feature; None where the first thing that was asked of it was not answered."""
    said = {one.question: sentence(answer) for one, answer, _ in told}
    if not said.get(FIRES_ON, said.get(PROMOTES)):
        return None
    detail = {
        "catalogue": task.catalogue.facts["key"],
        "documents": sorted({d for one, _, _ in told if one.shown is not None for d in one.shown.documents()}),
        "asked": [question for question, words in said.items() if words],
        "seed": task.seed,
        "prompt_tokens": sum(answer.prompt_tokens for _, answer, _ in told),
        "answer_tokens": sum(answer.answer_tokens for _, answer, _ in told),
        "faults": [fault for _, _, faults in told for fault in faults],
    }
    name = name_of("language_model", task.model)
    return Explanation(feature, name, said.get(FIRES_ON, ""), said.get(PROMOTES, ""), detail)
