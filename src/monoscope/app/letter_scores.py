"""How far a run's dictionary absorbs first letters, beside a frozen decoder, a random model and shuffled letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monoscope import progress
from monoscope.app import stages
from monoscope.app.comparison_table import cell, frame
from monoscope.app.plan import FIT, TEST
from monoscope.app.run import Run
from monoscope.app.sampling import activations, draw
from monoscope.dictionary import io
from monoscope.errors import MonoscopeError
from monoscope.interpret import first_letter
from monoscope.interpret.first_letter import LETTERS, Absorption, Probe, Task
from monoscope.models import LanguageModel
from monoscope.text.rows import Rows

READ = 60_000  # tokens read of each split
OF_A_WORD = 8  # tokens that count of each word in each split, or a few words would be all that is judged
SHUFFLED = "shuffled_letters"
NAMES = {
    "dictionary": "this dictionary",
    "frozen_decoder": "frozen decoder",
    "random_model": "random model",
    SHUFFLED: "shuffled letters",
}


@dataclass(frozen=True)
class Words:
    """Which tokens are read and kept: drawn rows of both splits, which of them are kept, and the words of those."""

    rows: Rows
    drawn: tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]
    kept: tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " m"]]
    words: tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]
    letters: Int[np.ndarray, " n_words"]

    def task(self, run: Run, lm: LanguageModel) -> Task:
        """Read the site."""
        x, x_test = (activations(run, lm, self.rows, d, k) for d, k in zip(self.drawn, self.kept, strict=True))
        return Task(x, self.words[0], x_test, self.words[1], self.letters)


def score(run: Run, least_f1: float = first_letter.LEAST_F1) -> dict[str, tuple[Probe, Absorption]]:
    """The probe and the dictionary's scores, the run's own first, then its controls; letters are read at ``least_f1``.

    Raises:
        MonoscopeError: the run is of a transcoder, or its text has too few words.
    """
    if run.plan.target is not None:
        raise MonoscopeError("a transcoder does not write where the probe reads", fix="name an SAE")
    words, seed, found = choose(run), run.plan.seed, dict[str, tuple[Probe, Absorption]]()
    with progress.bar("first letters", None, unit="dictionaries") as report:
        for name, path, task in contenders(run, words):
            probe = first_letter.probe(task, seed, least_f1)
            found[name] = probe, first_letter.absorption(task, probe, io.load(path), seed)
            report(1)
    return found


def contenders(run: Run, words: Words) -> Iterator[tuple[str, Any, Task]]:
    """Every dictionary's name, folder and task."""
    controls = stages.controls_of(run)
    own = words.task(run, run.lm)
    yield "dictionary", run.path / "dictionary", own
    if "frozen_decoder" in controls:
        yield "frozen_decoder", controls["frozen_decoder"], own
    yield SHUFFLED, run.path / "dictionary", own.shuffled(run.plan.seed)
    if "random_model" in controls:
        yield "random_model", controls["random_model"], words.task(run, run.lm.shuffled(run.plan.seed))


def choose(run: Run) -> Words:
    """Draw tokens of both splits; of words that are judged on only test tokens are kept, of others only fit tokens.

    Raises:
        MonoscopeError: there are fewer words than letters.
    """
    rows = Rows(run.store, run.store.documents(FIT, TEST))
    drawn = draw(run, rows, FIT, READ), draw(run, rows, TEST, READ)
    spelt = [spellings(rows, d) for d in drawn]
    lexicon = {w: i for i, w in enumerate(sorted({w for part in spelt for w in part if w is not None}))}
    letters = np.array([LETTERS.index(w[0]) for w in lexicon], np.int64)
    if len(lexicon) < len(LETTERS):
        raise MonoscopeError(f"only {len(lexicon)} words in the text that was read", fix="use a run with more text")
    held = first_letter.held_out(letters, run.plan.seed)
    rng, kept, words = np.random.default_rng(run.plan.seed), [], []
    for part, wanted in zip(spelt, (~held, held), strict=True):
        of = np.array([-1 if w is None else lexicon[w] for w in part])
        keep = few(np.where((of >= 0) & wanted[of], of, -1), rng)
        kept.append(keep)
        words.append(of[keep])
    return Words(rows, drawn, (kept[0], kept[1]), (words[0], words[1]), letters)


def spellings(rows: Rows, drawn: Int[np.ndarray, " n"]) -> list[str | None]:
    """The word that each row's token spells; None where it spells none."""
    documents, positions = rows.locate(drawn)
    found: list[str | None] = []
    for document in dict.fromkeys(documents.tolist()):  # rows ascend, so a document's are together
        tokens = rows.store.excerpt(document, 0, rows.store.length(document))
        found += [first_letter.word(tokens[p]) for p in positions[documents == document].tolist()]
    return found


def few(words: Int[np.ndarray, " n"], rng: np.random.Generator) -> Bool[np.ndarray, " n"]:
    """At random, ``OF_A_WORD`` places of every word, or all there are; none of -1."""
    order = rng.permutation(np.flatnonzero(words >= 0))
    order = order[np.argsort(words[order], kind="stable")]
    rank = np.arange(len(order)) - np.searchsorted(words[order], words[order])
    kept = np.zeros(len(words), bool)
    kept[order[rank < OF_A_WORD]] = True
    return kept


def to_json(found: dict[str, tuple[Probe, Absorption]]) -> dict[str, Any]:
    """``{"first_letter": …, "controls": {name: …}}``."""
    told = {name: first_letter.to_json(*both) for name, both in found.items()}
    return {"first_letter": told.pop("dictionary"), "controls": told}


def print_scores(found: dict[str, tuple[Probe, Absorption]], console: Console) -> None:
    """The dictionary beside its controls, and which letters are left out."""
    headings = ["letters\nof 26", "probe\nF1", "absorbed", "fraction\nabsorbed", "main\nones", "their\nF1"]
    table: Table = frame("", headings)
    for name, (probe, scores) in found.items():
        style = "bold" if name == "dictionary" else ""
        read = Text(f"{len(probe.readable)}", style=style)
        estimates = [cell(probe.mean_f1, 2, style, False)]
        estimates += [cell(e, 3, style, False) for e in (scores.absorption, scores.absorption_fraction)]
        means = [
            Text("–", style="dim") if mean is None else Text(f"{mean:.{digits}f}", style=style)
            for mean, digits in ((scores.main_features, 1), (scores.main_f1, 2))
        ]
        table.add_row(Text(NAMES[name], style=f"{style} cyan".strip()), read, *estimates, *means)
    console.print()
    console.print(Text("first letters of words that the probes were not fitted on; ± 95 % intervals", style="dim"))
    console.print(table)
    probe = found["dictionary"][0]
    left = "".join(letter for c, letter in enumerate(LETTERS) if c not in probe.readable)
    if left:
        said = f"left out, because a linear probe does not find them (F1 not above {probe.least_f1})"
        console.print(Text(f"{said} or there are too few words: {' '.join(left)}", style="dim"))
