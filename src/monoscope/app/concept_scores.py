"""What a run's features know of Python's grammar: coverage, reconstruction, sparse probes, each between two bounds.

Below stands a dictionary of the model with shuffled weights, where the run has one; above, a linear probe of the raw
activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monoscope import progress
from monoscope.app import stages
from monoscope.app.comparison_table import cell, frame
from monoscope.app.plan import FIT, TEST
from monoscope.app.run import Run
from monoscope.app.sampling import activations, draw
from monoscope.catalogue.store import Catalogue
from monoscope.concepts import ConceptBits
from monoscope.evaluate.evaluation import Metrics
from monoscope.interpret import coverage, probing
from monoscope.text.rows import Rows

PROBED = 20_000  # tokens each, of the fit and of the test documents, on which probes are fitted and judged
CONCEPTS = 30  # concepts that are probed
Drawn = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]  # rows of the fit and of the test documents
OWN, RANDOM, DENSE = "this dictionary", "random model", "linear probe"


@dataclass(frozen=True)
class ConceptScores:
    """``scores[who]``: the numbers of the dictionary, the random model's and the linear probe."""

    scores: dict[str, Metrics]
    grammar: tuple[str, ...]
    probed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """``scores``, and the names of the concepts asked."""
        scores = {who: {name: e.to_json() for name, e in m.items()} for who, m in self.scores.items()}
        return {"scores": scores, "grammar": list(self.grammar), "probed": list(self.probed)}


def score(run: Run) -> ConceptScores:
    """Score a catalogued run.

    Raises:
        MonoscopeError: the run has no catalogue, or its text is no Python.
    """
    bits = stages.concept_bits(run, run.catalogue)
    rows, seed = run.catalogue.rows, run.plan.seed
    fit, test = rows.in_split(FIT), rows.in_split(TEST)
    grammar = coverage.grammar(bits, fit, test)
    drawn = draw(run, rows, FIT, PROBED), draw(run, rows, TEST, PROBED)
    probed = probing.frequent(bits, grammar, *drawn, CONCEPTS)
    catalogues = {OWN: run.catalogue}
    shuffled = run.path / stages.CONTROLS / "random_model"
    if (shuffled / "catalogue.sqlite").is_file():
        catalogues[RANDOM] = Catalogue(shuffled, store=run.store)
    scores = {}
    with progress.bar("probing", None, unit="catalogues") as report:
        for who, made in catalogues.items():
            scores[who] = of_features(made, bits, grammar, probed, drawn, seed)
            report(1)
        scores[DENSE] = of_activations(run, rows, bits, grammar, probed, drawn, seed)
    names = tuple(c.name for c in bits.concepts)
    return ConceptScores(scores, tuple(names[c] for c in grammar), tuple(names[c] for c in probed))


def of_features(
    made: Catalogue,
    bits: ConceptBits,
    grammar: list[int],
    probed: list[int],
    drawn: Drawn,
    seed: int,
) -> Metrics:
    """Coverage, reconstruction and sparse probes of a catalogue's features."""
    fit, test = made.rows.in_split(FIT), made.rows.in_split(TEST)
    found = coverage.cover(made.index, bits, grammar, fit, test, seed)
    told: Metrics = {"coverage": found.coverage, "reconstruction": found.reconstruction}
    tokens = _tokens(bits, probed, drawn)
    for size in probing.SIZES:
        for name, s in probing.probe_features(made.index, *tokens, size, seed).items():
            told[f"{name}_{size}"] = s.estimate()
    return told


def of_activations(
    run: Run, rows: Rows, bits: ConceptBits, grammar: list[int], probed: list[int], drawn: Drawn, seed: int
) -> Metrics:
    """The same of a linear probe: its F1 on all grammar concepts stands for coverage and for reconstruction."""
    x, x_test = (activations(run, run.lm, rows, r).numpy() for r in drawn)
    told: Metrics = {}
    for names, concepts in ((("coverage", "reconstruction"), grammar), (None, probed)):
        tokens = _tokens(bits, concepts, drawn)
        found = probing.probe_activations(x, x_test, *tokens, seed)
        if names is not None:
            told |= dict.fromkeys(names, found["f1"].estimate())
        else:
            told |= {f"{name}_{size}": s.estimate() for name, s in found.items() for size in probing.SIZES}
    return told


def _tokens(bits: ConceptBits, concepts: list[int], drawn: Drawn) -> tuple[probing.Tokens, probing.Tokens]:
    return probing.Tokens.of(bits, concepts, drawn[0]), probing.Tokens.of(bits, concepts, drawn[1])


def print_scores(found: ConceptScores, console: Console) -> None:
    """Both bounds and the dictionary between them."""
    sizes = probing.SIZES
    groups = (
        [("coverage", "coverage"), ("reconstruction", "reconstruction")],
        [(f"auroc_{k}", f"AUROC\n{k} feature{'s' * (k > 1)}") for k in sizes]
        + [(f"f1_{k}", f"F1\n{k} feature{'s' * (k > 1)}") for k in sizes],
    )
    said = (
        f"{len(found.grammar)} concepts of Python's grammar; mean F1 on test documents, ± 95 % intervals",
        f"probes of {len(found.probed)} concepts by a few features, and by all activations (linear probe)",
    )
    for words, columns in zip(said, groups, strict=True):
        table: Table = frame("", [heading for _, heading in columns])
        for who in (OWN, DENSE, RANDOM):
            if who in found.scores:
                style = "bold" if who == OWN else ""
                cells = [cell(found.scores[who][name], 3, style, False) for name, _ in columns]
                table.add_row(Text(who, style="bold cyan" if who == OWN else ""), *cells)
        console.print()
        console.print(Text(words, style="dim"))
        console.print(table)
