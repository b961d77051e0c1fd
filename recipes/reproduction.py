"""Published findings about dictionary learning, on packaged models and two cores: what came out, and does it hold?

    python recipes/reproduction.py all --out OUT                      by estimate 25 minutes of two quiet cores
    python recipes/reproduction.py bar-9 --out OUT                    one of them
    python recipes/reproduction.py all --out BIGGER --tokens 8000000  longer trainings; --seeds 3 for more of bar 9

A bar is a file of ``recipes/bars``: what the paper saw, what is expected of the small version, fixed before looking,
and the judgement. ``OUT`` receives ``bar_09.json`` and its like; what is there is not measured again, so a stopped run
goes on.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from bars._lab import Lab, Settings
from bars._outcome import Outcome
from monoscope import folder, plugins

BARS = "bars"
DEFAULT = Settings()
Shared = Annotated[Settings, Parameter(name="*")]
WIDTH = 160  # of a table that no terminal shows
app = App(help=__doc__)


def result(lab: Lab, name: str, again: bool) -> Outcome:
    """Measure a bar, unless its file is there; judge what was measured, write it, show it."""
    bar, path = plugins.load(BARS, name), lab.out / f"{name}.json"
    if again or not path.is_file():
        began = time.perf_counter()
        measured = bar.measure(lab)
        facts = {
            "date": datetime.date.today().isoformat(),
            "seconds": round(time.perf_counter() - began),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
    else:
        kept = folder.read_json(path)
        measured, facts = kept["measured"], kept["facts"]
    outcome: Outcome = bar.judge(measured)
    written = {"bar": bar.TITLE, "source": bar.SOURCE, **outcome.to_json()}
    folder.write_json(path, {**written, "measured": measured, "facts": facts, "settings": asdict(lab.settings)})
    console().print(outcome.table(f"{label(name)}, {bar.TITLE}", bar.SOURCE))
    return outcome


def console() -> Console:
    """Standard output; wide where it is a file."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def label(name: str) -> str:
    """``bar_09`` as it is said."""
    return f"bar {int(name.split('_')[1])}"


def command(name: str) -> Callable[..., None]:
    """The sub-command of a bar."""

    def run(*, out: Path, again: bool = False, threads: int = 0, settings: Shared = DEFAULT) -> None:
        use(threads)
        result(Lab(out, settings), name, again)

    run.__doc__ = plugins.load(BARS, name).__doc__
    return run


def use(threads: int) -> None:
    """Of torch; 0 leaves them."""
    if threads:
        torch.set_num_threads(threads)


for each in plugins.names(BARS):
    app.command(command(each), name=label(each).replace(" ", "-"))


@app.command(name="all")
def every(*, out: Path, again: bool = False, threads: int = 0, settings: Shared = DEFAULT) -> None:
    """All bars, and a table of their verdicts.

    Args:
        out: a folder, which receives a file for each bar and holds what they share.
        again: measure what was measured before, too.
        threads: of torch; 0 leaves them.
    """
    use(threads)
    lab, found = Lab(out, settings), Table(title="verdicts", title_justify="left")
    for name in plugins.names(BARS):
        bar = plugins.load(BARS, name)
        found.add_row(label(name), bar.TITLE, bar.SOURCE, result(lab, name, again).verdict)
    console().print(found)


if __name__ == "__main__":
    app()
