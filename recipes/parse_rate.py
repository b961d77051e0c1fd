"""The compiler as the teacher: does a feature make a model's Python parse more often?

    python recipes/parse_rate.py OUT

A dictionary of reference C's middle residual stream is trained and catalogued in ``OUT/run``. For each objective
features and doses are searched for on prompts that begin at a ``def`` or ``class`` of held-out Python, and the winner
is confirmed on prompts that the search never saw, beside random features and the samples' gradient at the same dose,
other temperatures, and the best of n plain samples: of 2, of 4, and of as many as the search's tokens would have paid
for. ``OUT/parse_rate.json`` holds every number, ``OUT/*.toml`` the recipes. A run that is there is used as it is, a
stopped search goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclopts import App
from rich.console import Console

from monoscope import folder
from monoscope.app import plan, seeking, stages
from monoscope.app.run import Run
from monoscope.catalogue.build import build
from monoscope.intervene import recipes
from monoscope.models import load_model

MODEL = "reference-c"
app = App(help=__doc__)


def prepared(path: Path, site: str, tokens: int, seed: int, labels: bool) -> Run:
    """The run: text, dictionary, catalogue; labels where features are chosen by them."""
    lm = load_model(MODEL)
    plan.resolve(
        lm, site=site, text=None, tokens=tokens, features=4096, k=32, architecture="topk", seed=seed
    ).settle(path)  # fmt: skip
    run = Run(path)
    run.lm = lm
    stages.text(run)
    stages.dictionaries(run, stages.stream(run, lm))
    made = build(path, lm, site, run.dictionary, run.store, effects=0, seed=seed)
    if labels:
        stages.labels(run, made)
    return run


@app.default
def search(
    out: Path,
    *,
    objectives: tuple[str, ...] = ("python_parses", "balanced_brackets+consistent_indentation"),
    site: str = "resid_post.1",
    train: int = 600_000,
    begins: str = "keyword_defining & line_indent_0",
    concept: str = "",
    budget: int = 150_000,
    samples: int = 384,
    candidates: int = 4,
    doses: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4),
    tokens: int = 48,
    confirm: int = 300,
    seed: int = 0,
) -> None:
    """Train, search, confirm."""
    console, written = Console(width=120), out / "parse_rate.json"
    found: dict[str, Any] = folder.read_json(written) if written.is_file() else {}
    run = prepared(out / "run", site, train, seed, bool(concept))
    for objective in objectives:
        console.rule(objective)
        wanted = seeking.Wanted(
            objective, concept, begins, budget, samples, candidates, doses, tokens, confirm=confirm, seed=seed
        )
        winner, facts, tried = seeking.seek(run, wanted, out / f"{objective}.jsonl")
        recipes.save(winner, out / f"{objective}.toml")
        seeking.show(facts, tried, console)
        found[objective] = seeking.to_json(facts, tried)
        folder.write_json(written, found)


if __name__ == "__main__":
    app()
