"""Measuring speed, quality and memory of training, beside other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from monoscope.app.bench import sizes

bench = App(
    name="bench",
    help="""Measure training: its speed, quality and memory, beside other libraries in one run.

    Example: monoscope bench train --sizes 512x8192 --peers PEERS/bin/python""",
)

ONLY = Parameter(help="Contenders or libraries, with commas between, such as saelens:topk or monoscope.")
PEERS = Parameter(
    help="A Python that has torch, sae-lens, dictionary-learning and eai-sparsify. Without it: ours alone."
)
ARCHITECTURES = Parameter(help="Ours, with commas between, or all; of other libraries what does the same.")
SIZES = Parameter(help="WIDTHxFEATURES, with commas between.")


@bench.command
def train(
    *,
    sizes: Annotated[str, SIZES] = sizes.DEFAULT,
    architectures: Annotated[str, ARCHITECTURES] = "topk,batch_topk",
    k: int = 32,
    batch: int = 4096,
    peers: Annotated[Path | None, PEERS] = None,
    only: Annotated[str | None, ONLY] = None,
    rows: Path | None = None,
    model: str | None = None,
    site: str | None = None,
    text: str | None = None,
    rounds: int = 3,
    steps: int | None = None,
    dead: float = 0.0,
    threads: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Time training steps in turns, a process each, beside the bare product of the encoder.

    Example: `monoscope bench train --sizes 512x8192 --peers PEERS/bin/python --threads 2`

    Parameters
    ----------
    k
        Active features per row; penalties are led to it.
    batch
        Rows per step.
    rows
        A .npy file of rows, used for sizes of its width. Other sizes have made-up rows.
    model
        Instead of a file: a model, with --site and --text.
    site
        Its site.
    text
        What it reads.
    rounds
        Turns of everyone.
    steps
        Steps in a turn; by default 24, and 100 where a penalty has to come down first.
    dead
        Share of the features that are dead from the start, so that AuxK is at work.
    threads
        Threads of everyone; by default what each chooses.
    out
        A JSON file for all that was found.
    json
        Print JSON.
    """
    from monoscope.app.bench import contenders, data, machine, process, speed, tables
    from monoscope.app.bench import sizes as sized
    from monoscope.app.bench.report import Report

    wanted = sized.parse(sizes)
    names = contenders.contenders(contenders.chosen(architectures), peers=peers is not None, only=only)
    versions = process.versions(peers, names) if peers else {}
    with data.given(rows, model, site, text, speed.rows_for(batch)) as path:
        trial = speed.Trial(names, k, batch, rounds, steps, dead, threads, peers, path)
        report = Report(machine.header(threads, versions), trial.to_json(), as_json=json, out=out)
        for size in wanted:
            report.add(speed.measure(trial, size), tables.print_speed)
        report.end()


@bench.command
def quality(
    *,
    rows: Path,
    peers: Annotated[Path | None, PEERS] = None,
    architectures: Annotated[str, ARCHITECTURES] = "topk,batch_topk",
    only: Annotated[str | None, ONLY] = None,
    tokens: int = 819_200,
    rates: str = "1e-3,3e-3,6e-3,1e-2",
    seeds: int = 3,
    features: int = 3072,
    k: int = 32,
    batch: int = 4096,
    silence: int = 0,
    threads: int = 0,
    out: Path = Path("bench-quality.jsonl"),
    json: bool = False,
) -> None:
    """Train every library whole, at its best learning rate of a sweep and ours at its default too, and judge the FVU.

    Example: `monoscope bench quality --rows rows.npy --peers PEERS/bin/python --only saelens:topk`

    Parameters
    ----------
    rows
        A .npy file of rows; the last tenth, at most 32,768, is judged and not trained on.
    tokens
        Rows to train on; more than there are mean several epochs.
    rates
        Learning rates, with commas between. The best with the first seed is trained with all seeds.
    seeds
        How many.
    features
        Features to learn.
    k
        Active features per row; penalties are led to it.
    batch
        Rows per step.
    silence
        Rows of silence after which other libraries count a feature as dead and revive it; by default what each has,
        which can be longer than the training. Ours has its own.
    threads
        Threads of everyone; by default what each chooses.
    out
        Every training is a line of this file. What is there is not trained again: the command goes on where it stopped.
    json
        Print JSON.
    """
    from rich.console import Console

    from monoscope.app.bench import contenders, machine, process, tables
    from monoscope.app.bench import quality as trained
    from monoscope.app.bench.report import Report

    names = contenders.contenders(contenders.chosen(architectures), peers=peers is not None, only=only)
    versions = process.versions(peers, names) if peers else {}
    swept = trained.numbers(rates)
    trial = trained.Trial(names, rows, tokens, swept, seeds, features, k, batch, threads, peers, silence)
    facts, said = machine.header(threads, versions), Console(stderr=True)
    records = trained.Records(out, trial.facts(), {"machine": facts})
    report = Report(facts, trial.to_json(), as_json=json, out=None)
    trained.run(trial, records, lambda line: said.print(line, highlight=False, markup=False))
    report.add({"contenders": trained.summary(trial, records)}, tables.print_quality)
    report.end()


@bench.command
def memory(
    *,
    sizes: Annotated[str, SIZES] = sizes.DEFAULT,
    architectures: Annotated[str, ARCHITECTURES] = "topk,batch_topk",
    k: int = 32,
    batch: int = 4096,
    steps: int = 60,
    threads: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Measure by how much training lets resident memory grow: the loop alone, and `ms.fit` on an array.

    Example: `monoscope bench memory --sizes 768x24576 --architectures all`

    Parameters
    ----------
    k
        Active features per row; penalties are led to it.
    batch
        Rows per step.
    steps
        Steps of each training.
    threads
        Threads; by default what training chooses.
    out
        A JSON file for all that was found.
    json
        Print JSON.
    """
    from rich.console import Console

    from monoscope.app.bench import contenders, machine, tables
    from monoscope.app.bench import memory as grown
    from monoscope.app.bench import sizes as sized
    from monoscope.app.bench.report import Report

    wanted, trial = sized.parse(sizes), grown.Trial(contenders.chosen(architectures), k, batch, steps, threads)
    report = Report(machine.header(threads), trial.to_json(), as_json=json, out=out)
    if grown.is_measured():
        for size in wanted:
            report.add(grown.measure(trial, size), tables.print_memory)
    else:
        Console(stderr=True).print("not measured: this system keeps no mark of memory that can be set back; Linux does")
    report.end()


@bench.command
def rows(
    *, model: str, site: str, text: str, out: Path, tokens: int | None = None, seed: int = 0, json: bool = False
) -> None:
    """Write a model's activations to a .npy file, as fp32 rows in random order: what the other benchmarks train on.

    Example: `monoscope bench rows --model reference-a --site mlp_act.0 --text held_out:python --out rows.npy`

    Parameters
    ----------
    model
        A packaged model, a Hugging Face id or a folder.
    site
        The site whose activations are written.
    text
        What the model reads.
    out
        The file.
    tokens
        Rows; by default as many as the text has tokens.
    seed
        Fixes their order.
    json
        Print JSON.
    """
    import sys
    from json import dumps

    from rich.console import Console

    from monoscope.app.bench import data

    n, width = data.harvest(model, site, text, out, tokens, seed)
    if json:
        sys.stdout.write(dumps({"file": str(out), "rows": n, "width": width}) + "\n")
    else:
        Console().print(f"{n:,} rows of {width:,} numbers in {out}", markup=False)
