"""Let reference A forget a script, or DNA: by which features, at what price for everything else, and for how long.

    python recipes/forgetting.py OUT

For each site a dictionary is trained on the corpus ``held_out``, which every installation has (Python with a little
Cherokee, Gujarati, Syriac, Ukrainian, base64, hexadecimal and DNA), and catalogued, in ``OUT/SITE``. For each concept
and method the number of features is searched for on the split ``fit`` and the removal is judged on ``test``; see
``monoscope remove --help`` for what stands beside it. ``OUT/forgetting.json`` holds every number, the models are in
``OUT/models``. What is there is not made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from monoscope import folder
from monoscope.app import plan, removing, removing_table, stages
from monoscope.app.removing_table import cell
from monoscope.app.run import Run
from monoscope.intervene import remove
from monoscope.models import load_model
from monoscope.studies.forgetting import Change, Exam, compare, losses

MODEL, TEXT = "reference-a", "held_out"
app = App(help=__doc__)


def prepared(path: Path, site: str, tokens: int, seed: int) -> Run:
    """The run of a site: text, dictionary, catalogue."""
    lm = load_model(MODEL)
    plan.resolve(
        lm, site=site, text=TEXT, tokens=tokens, features=4096, k=32, architecture="topk", seed=seed
    ).settle(path)  # fmt: skip
    run = Run(path)
    run.lm = lm
    stages.text(run)
    stages.dictionaries(run, stages.stream(run, lm))
    stages.catalogue(run, run.dictionary)
    return run


def kinds(task: removing.Removing, sums: dict[str, np.ndarray]) -> Iterator[tuple[str, Change]]:
    """What the removal did to each kind of document; Python is whatever is not named."""
    exam: Exam = task.test
    named = np.array([task.run.store.names[d].split("/")[0] for d in exam.documents])
    known = ("cherokee", "gujarati", "syriac", "ukrainian", "base64", "hex", "dna")
    named = np.where(np.isin(named, known), named, "python")
    for kind in ("python", *known):
        of = named == kind
        if of.any():
            plain = {name: v[of] for name, v in task.plain[exam].items()}
            yield kind, compare(plain, {name: v[of] for name, v in sums.items()}, task.wanted.seed)


@app.default
def forget(
    out: Path,
    *,
    concepts: str = "script_cyrillic,in_dna",
    sites: str = "mlp_act.0,resid_post.0",
    methods: str = "regress,project",
    tokens: int = 1_500_000,
    judged: int = 80_000,
    tolerance: float = 0.01,
    seed: int = 0,
) -> None:
    """Train, remove, judge."""
    console, kept = Console(width=120), out / "forgetting.json"
    found: dict[str, Any] = folder.read_json(kept) if kept.is_file() else {}
    for site in sites.split(","):
        run = prepared(out / site, site, tokens, seed)
        for concept in concepts.split(","):
            for method in methods.split(","):
                name = f"{concept} {site} {method}"
                if name in found:
                    continue
                console.rule(name)
                wanted = removing.Wanted(concept, method, tolerance, tokens=judged, seed=seed)
                found[name] = one(run, wanted, out / "models" / name.replace(" ", "-"), console)
                folder.write_json(kept, found)


def one(run: Run, wanted: removing.Wanted, model: Path, console: Console) -> dict[str, Any]:
    """One removal, shown; its numbers."""
    task = removing.Removing(run, wanted)
    candidates = task.ranked()
    features, searched = task.search(candidates)
    made, result = removing.study(task, features, searched)
    removing_table.show(result, console)
    table = Table("kind", "of the concept, nats", "the rest, %")
    by_kind = dict(kinds(task, losses(made, task.test)))
    for kind, change in by_kind.items():
        table.add_row(kind, cell(change.gain, 3), cell(change.relative, 2, 100))
    console.print(table)
    remove.save(made, model, result.to_json())
    return {
        **result.to_json(),
        "candidates": len(candidates),
        "kinds": {kind: change.to_json() for kind, change in by_kind.items()},
    }


if __name__ == "__main__":
    app()
