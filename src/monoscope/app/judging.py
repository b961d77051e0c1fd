"""From the command line's flags to judges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from monoscope.app.asking import Asking, spent_in_words
from monoscope.app.run import Run
from monoscope.interpret.judges import Judge
from monoscope.interpret.judges import embedding as sentences
from monoscope.interpret.judges.concept import Concepts
from monoscope.interpret.judges.language_model import LanguageModelJudge


@contextmanager
def judges(run: Run, asking: Asking, embedding: str | None) -> Iterator[dict[str, Judge]]:
    """The judge of choice under "", a sentence-embedding model, where one was named, under "embedding".

    The judge of choice is the language model that the flags name, else the labels' own concepts. When the block ends,
    it is said what was spent, and why asking stopped, if it did.

    Raises:
        MonoscopeError: a model cannot be had.
    """
    named: dict[str, Judge] = {} if embedding is None else {"embedding": sentences.load(embedding)}
    if not asking.given():
        yield {"": Concepts(run.store), **named}
        return
    with asking.open(run.path) as model:
        try:
            yield {"": LanguageModelJudge(model), **named}
        finally:
            said = Console(stderr=True)
            said.print(spent_in_words(model.account), highlight=False, markup=False)
            if model.stopped:
                said.print(f"asking stopped: {model.stopped}; the same command goes on", highlight=False, markup=False)
