"""Training a dictionary on a harvest, or straight from a model."""

from __future__ import annotations

from pathlib import Path


def train(
    source: str,
    *,
    out: Path,
    site: str | None = None,
    target: str | None = None,
    text: str | None = None,
    tokens: int | None = None,
    architecture: str = "topk",
    features: int = 4096,
    k: int = 32,
    seed: int = 0,
) -> None:
    """Train a dictionary, and beside it the frozen-decoder control, into a run's folder.

    Example: `monoscope train acts --features 4096 --k 32 --out run`

    Parameters
    ----------
    source
        A harvest's folder; or a model, whose activations are then streamed and stored nowhere.
    out
        The run's folder. An interrupted training goes on, bit for bit.
    site
        The site that is read; of a harvest, its first by default.
    target
        The site that is reconstructed, if another: a transcoder.
    text
        For a model: what it reads.
    tokens
        For a model: training tokens.
    architecture
        topk, batch_topk, jumprelu, gated, p_anneal, l1 or l1_2023.
    features
        Features to learn.
    k
        Active features per token.
    seed
        The same seed gives the same numbers.
    """
    from rich.console import Console

    from monoscope.app import harvested, plan, stages
    from monoscope.app.run import Run
    from monoscope.models import load_model

    folder = Path(source)
    facts = harvested.facts(folder) if harvested.is_harvest(folder) else None
    lm = load_model(facts["model"] if facts else source)
    if facts:
        site, text, tokens = site or facts["sites"][0], facts["text"], facts["tokens"]
    plan.resolve(
        lm, site=site, target=target, text=text, tokens=tokens, features=features, k=k,
        architecture=architecture, seed=seed,
    ).settle(out)  # fmt: skip
    run = Run(out)
    run.lm = lm
    if facts:
        harvested.hand_over_text(folder, out)
    stages.text(run)
    made = stages.dictionaries(run, stages.harvest_of(folder) if facts else stages.stream(run, lm))
    Console().print(f"{made['main'].n_features:,} features in {out / 'dictionary'}")
