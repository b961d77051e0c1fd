"""How many features of a run get a label that holds on held-out text, and how many do in two controls.

    python recipes/labels.py RUN

The labels are searched for again, in memory; the run is not changed. Shown are, of the features that ever fire, those
with a contextual or a token label of F1 at least 0.5 and 0.8, with Wilson's 95 % interval (1927) over features; how
many of the contextual ones have one, two and three literals; and the CPU seconds of each part, all threads together.
The controls are the model with shuffled weights, where the run has it, and activations shifted along the rows. Kernels
that were never compiled are compiled first, which the seconds of the first search then hold: run it twice to compare.
"""

from __future__ import annotations

import ast
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue, open_catalogue
from monoscope.concepts import compile_bits
from monoscope.interpret.claims import MOST_LITERALS
from monoscope.interpret.explainers import concepts
from monoscope.text.store import TokenStore

LEVELS = (0.5, 0.8)
KINDS = ("context", "token")
Z = 1.959964  # two sides, 95 %
WIDTH = 140  # of a table that no terminal shows
app = App(help=__doc__)
T = TypeVar("T")


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, ``k`` of ``n``."""
    share, extra = k / n, Z * Z / n
    middle, reach = share + extra / 2, Z * np.sqrt(share * (1 - share) / n + extra / n / 4)
    return float((middle - reach) / (1 + extra)), float((middle + reach) / (1 + extra))


def literals(label: Label) -> int:
    """How many literals a contextual label has: no concept, and no place, is named by two of them."""
    return len({node.id for node in ast.walk(ast.parse(label.concept, mode="eval")) if isinstance(node, ast.Name)})


def cells(labels: Sequence[Label], n: int, level: float) -> list[str]:
    """For each kind how many of ``n`` features have a label of such F1; and the contextual ones by literals."""
    good = [label for label in labels if label.f1 >= level]
    shown = []
    for kind in KINDS:
        k = sum(label.kind == kind for label in good)
        low, high = wilson(k, n)
        shown.append(f"{k:,}: {k / n:.1%} ({low:.1%} to {high:.1%})")
    lengths = Counter(literals(label) for label in good if label.kind == "context")
    return [*shown, ", ".join(str(lengths[k + 1]) for k in range(MOST_LITERALS))]


def alive(catalogue: Catalogue) -> int:
    """How many features ever fire."""
    return int((np.diff(catalogue.index.offsets) > 0).sum())


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What ``work`` returns, and the CPU seconds that it took."""
    began = time.process_time()
    return work(), time.process_time() - began


@app.default
def labels(run: Path) -> None:
    """Label the run and its controls, and print what came out."""
    catalogue, random = open_catalogue(run), run / "controls" / "random_model"
    bits, seconds = timed(lambda: compile_bits(catalogue.rows))
    parts = {"the run": (catalogue, concepts.explain)}
    if (random / "catalogue").is_dir():
        parts["shuffled weights"] = (Catalogue(random, store=TokenStore(run / "text")), concepts.explain)
    parts["shifted activations"] = (catalogue, concepts.shuffled)
    table = Table(title=f"Labels of {run.name}, held-out text")
    for head in ("", "live", "F1 ≥", "contextual", "token", "1, 2, 3 literals", "CPU s"):
        table.add_column(head, justify="left" if not head else "right")
    table.add_row("asking the concepts", "", "", "", "", "", f"{seconds:.1f}")
    for name, (source, search) in parts.items():
        found, seconds = timed(lambda source=source, search=search: search(source, bits))  # type: ignore[misc]
        for level in LEVELS:
            first = level == LEVELS[0]
            head = (name, f"{alive(source):,}") if first else ("", "")
            cpu = f"{seconds:.1f}" if first else ""
            table.add_row(*head, str(level), *cells(found, alive(source), level), cpu)
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(table)


if __name__ == "__main__":
    app()
