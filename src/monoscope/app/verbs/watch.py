"""Watching a model by rules over its features: live, and on what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from monoscope.app.verbs._watch_fit import fit

watch = App(
    name="watch",
    help="""Watch a model by rules over its features: alarms while it reads and writes, recordings, audit logs.

    Example: monoscope watch run monoscope-run "class Shape" --rules rules.toml --generate 40""",
)

watch.command(fit)

RULES = Parameter(help="The rules' file; `monoscope watch new` begins one.")


@watch.command
def run(
    model: str,
    text: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    rules: Annotated[Path, RULES],
    source: Annotated[str | None, Parameter(name="--text")] = None,
    tokens: int = 100_000,
    generate: int = 0,
    temperature: float = 0.0,
    seed: int = 0,
    record: Path | None = None,
    shadow: bool = False,
    audit: Path | None = None,
    alert: str | None = None,
    metrics: Path | None = None,
    json: bool = False,
) -> None:
    """Let the model read texts, or go on with them, and print every alarm with the words around it.

    Example: `monoscope watch run monoscope-run --rules rules.toml --text held_out:python --record seen`

    Parameters
    ----------
    model
        A run's folder, a packaged model, a Hugging Face id or a folder.
    text
        A text; - reads standard input.
    source
        Or what else is read: held_out, python_source, files:PATH, huggingface:ID, or a path.
    tokens
        At most so many tokens of it.
    generate
        The model goes on with every text by so many tokens.
    temperature
        Of sampling; 0 takes the likeliest token.
    seed
        The same seed gives the same tokens.
    record
        A new folder into which every token's codes are recorded, for rules that come later.
    shadow
        Change nothing that the model says: what stops or steers is left out, and the audit log says what would be done.
    audit
        A file to which every event is appended, each line with the hash of the one before.
    alert
        The web address that alerts are posted to, where a rule asks for them.
    metrics
        Write the watch's numbers into this file, as Prometheus reads them.
    json
        Print JSON for programs.
    """
    import sys
    from json import dumps

    from rich.console import Console

    from monoscope import folder
    from monoscope.app import watching

    lm = watching.model_of(model)
    said = sys.stdin.read() if text == "-" else text
    given = watching.texts(lm, said, source, tokens, generate)
    settings = {} if alert is None else {"alert": {"url": alert}}
    found, watched = watching.run(
        lm, given, generate, temperature, seed,
        rules=rules, record=record, shadow=shadow, audit=audit, settings=settings,
    )  # fmt: skip
    if metrics is not None:
        folder.write_bytes(metrics, watched.acting.metrics.text().encode())
    if json:
        sys.stdout.write(dumps(watching.to_json(found, model=lm.name), ensure_ascii=False) + "\n")
    else:
        watching.show(found, Console())


@watch.command
def replay(recording: Path, *, rules: Annotated[Path, RULES], json: bool = False) -> None:
    """Try rules on a recording: the alarms that they would have raised, and those that they did.

    Example: `monoscope watch replay seen --rules rules.toml`

    Parameters
    ----------
    recording
        What --record wrote.
    json
        Print JSON for programs.
    """
    import sys
    from json import dumps

    from rich.console import Console

    from monoscope import progress
    from monoscope.app import watching
    from monoscope.watch import replay as replayed
    from monoscope.watch import rules as rules_
    from monoscope.watch.recording import Recording

    opened = Recording(recording)
    with progress.bar("reading the recording", None) as report:
        events = replayed.replay(opened, rules_.load(rules), report)
    found = watching.of_replay(opened, events)
    if json:
        told = watching.to_json(found, complete=events.complete, model=opened.facts.get("model"))
        sys.stdout.write(dumps(told, ensure_ascii=False) + "\n")
        return
    watching.show(found, Console())
    if not events.complete:
        Console(stderr=True).print("the recording was cut off; what was written before is shown", style="dim")


@watch.command
def verify(audit: Path, *, head: str | None = None, json: bool = False) -> None:
    """Follow an audit log's chain of hashes; a line that was changed is an error.

    Example: `monoscope watch verify audit.jsonl`

    Parameters
    ----------
    audit
        The log.
    head
        The hash of the last line, where it was kept elsewhere: then lines that were cut off are an error too.
    json
        Print JSON for programs.
    """
    import sys
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from monoscope.errors import MonoscopeError
    from monoscope.watch.audit import verify as followed

    found = followed(audit)
    if json:
        sys.stdout.write(dumps(asdict(found)) + "\n")
    if found.broken is not None:
        raise MonoscopeError(f"line {found.broken} of {audit} does not follow from the line before", fix="restore it")
    if head is not None and head != found.head:
        raise MonoscopeError(f"{audit} ends with another line than the one that was kept", fix="restore it")
    if not json:
        torn = f"; {found.torn} bytes of an unfinished line" if found.torn else ""
        Console().print(
            f"{found.lines:,} lines, each follows from the one before{torn}\nhash of the last: {found.head}"
        )


@watch.command
def new(
    run: Path, *, feature: str, above: float = 0.3, clear: float | None = None, out: Path = Path("rules.toml")
) -> None:
    """Begin a rules' file: a rule for each of some features of a run, bound to its model and dictionary.

    Example: `monoscope watch new monoscope-run --feature 12,40 --above 0.5 --clear 0.2`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    feature
        The features' numbers, with commas between.
    above
        Raised above, in multiples of the feature's largest value.
    clear
        Cleared below, likewise; without it as soon as it is no longer above.
    out
        The file.
    """
    from rich.console import Console

    from monoscope.app import watching
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError
    from monoscope.watch import rules

    try:
        features = [int(part) for part in feature.split(",")]
    except ValueError as error:
        raise MonoscopeError(f"{feature!r} are no features", fix="write numbers with commas between") from error
    if out.exists():
        raise MonoscopeError(f"{out} is there already", fix="name another file with --out")
    made = watching.rules_of(Run(run), features, above, clear)
    rules.save(made, out)
    Console().print(f"{len(made.rules)} rules in {out}", markup=False)


@watch.command
def calibrate(recording: Path, *, rules: Annotated[Path, RULES], out: Path) -> None:
    """Write rules with the range of every signal's density on a recording, for the drift alarm.

    The range is from the lowest to the highest density of a window of tokens.

    Example: `monoscope watch calibrate seen --rules rules.toml --out calibrated.toml`

    Parameters
    ----------
    recording
        Of ordinary text, read with these rules or with the full codes of their dictionaries.
    out
        The file for the rules with ranges.
    """
    from rich.console import Console

    from monoscope.watch import drift, replay
    from monoscope.watch import rules as rules_
    from monoscope.watch.recording import Recording

    opened, given = Recording(recording), rules_.load(rules)
    made = drift.calibrated(given, replay.seen(opened, given))
    rules_.save(made, out)
    for signal in made.signals:
        low, high = signal.density or (0.0, 0.0)
        Console().print(f"{signal.name}: {low:.4g} to {high:.4g}", markup=False, highlight=False)
