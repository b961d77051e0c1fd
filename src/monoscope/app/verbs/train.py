"""Training a dictionary on a harvest, or straight from a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from monoscope.app.verbs import _listed

PAIRS = Parameter(negative_iterable=(), show_default=False)


def train(
    source: str,
    *,
    out: Path,
    site: str | None = None,
    target: str | None = None,
    text: str | None = None,
    tokens: int | None = None,
    preset: Annotated[str | None, _listed.PRESET] = None,
    architecture: Annotated[str | None, _listed.ARCHITECTURE] = None,
    features: int = 4096,
    k: int | None = None,
    skip: bool = False,
    batch_size: int | None = None,
    option: Annotated[Sequence[str], PAIRS] = (),
    sweep: Annotated[Sequence[str], PAIRS] = (),
    controls: Annotated[bool, Parameter(negative=())] = False,
    seed: int = 0,
    device: str = "cpu",
    log: Annotated[Sequence[str], _listed.LOG] = (),
    config: Path | None = None,
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
    features
        Features to learn.
    k
        Active features per token; by default 32, or as the preset has it. 0: a penalty stays at its weight, as it also
        does where a weight is named (--option penalty=3) and no k.
    skip
        Give a transcoder a linear map beside its features.
    batch_size
        Tokens per step; by default the preset's, or by the number of tokens: 4,096 beyond 6.5 million.
    option
        key=value, as often as needed: an option of the architecture or its objective, or of the learning rate.
    sweep
        key=v1,v2,… of a flag (architecture, features, k, seed) or an option; several span a grid. All of it is trained
        in one pass, into OUT/sweep/NAME; of a grid that grew, only what is new.
    controls
        Train beside every point of a sweep its control whose decoder stays random; a single training always has one.
    seed
        The same seed gives the same numbers.
    device
        Where the model runs and the dictionary is trained: cpu, cuda, cuda:1. A run may go on on another.
    config
        A TOML file that holds flags by their names. Those given here override it.
    """
    from rich.console import Console

    from monoscope.app import choice, harvested, plan, stages
    from monoscope.app.run import Run
    from monoscope.models import load_model
    from monoscope.train import logs

    logs.check(log)
    chosen = choice.choose(
        named=preset, architecture=architecture, features=features, k=k, skip=skip, batch_size=batch_size,
        options=option, seed=seed,
    )  # fmt: skip
    grid = choice.grid(chosen, sweep) if sweep else {}
    folder = Path(source)
    kept = harvested.is_harvest(folder)
    if not kept:
        harvested.refuse_run(folder)
    lm = load_model(harvested.facts(folder)["model"] if kept else source, device=device)
    where: dict[str, Any] = {"site": site, "target": target, "text": text, "tokens": tokens}
    if kept:
        where = harvested.reads(folder, lm, **where)
    points = {name: plan.resolve(lm, **where, **point.arguments) for name, point in grid.items()}
    own = chosen.arguments
    if (
        points and features is not None and own["k"] is None
    ):  # of few features the usual k, used by no point, is too many
        own = {**own, "k": min(plan.K, features)}
    plan.resolve(lm, **where, **own).settle(out)
    run = Run(out)
    run.lm = lm
    if kept:
        harvested.hand_over_text(folder, out)
    stages.text(run)
    rows = stages.harvest_of(folder) if kept else stages.stream(run, lm)
    if points:
        made = {f"sweep/{name}": found for name, found in stages.sweep(run, points, rows, log, controls).items()}
    else:
        made = {"": stages.dictionaries(run, rows, log)["main"]}
    for name, found in made.items():
        Console().print(f"{found.n_features:,} features in {out / name / 'dictionary'}")
