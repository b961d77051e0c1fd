"""Progress on the terminal: one bar a step, with tokens per second, the time left and what is being watched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

WINDOW = 120.0  # seconds that speed and time left are estimated from
console = Console(stderr=True)


class Report(Protocol):
    """Told how many more units are done, and what to show beside the bar."""

    def __call__(self, done: int, note: str = "") -> None:
        """``done`` is added to what was done before. The first call says where the bar begins, and is not speed: of
        work that goes on it is what an earlier process did.
        """
        ...


def silent(done: int, note: str = "") -> None:
    """A report that shows nothing."""


class Speed(ProgressColumn):
    """Units per second of late, from which the time left is estimated too."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Nothing until there were two reports."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} {self.unit}/s", style="cyan")


@contextmanager
def bar(title: str, total: int | None, *, unit: str = "tokens", shown: bool = True) -> Iterator[Report]:
    """A progress bar on standard error for the duration of the block; yields its ``Report``."""
    if not shown or not sys.stderr.isatty():
        yield silent
        return
    columns = (
        TextColumn("{task.description:<20}"),  # all of it fits into 80 columns
        BarColumn(bar_width=14),
        TaskProgressColumn(),
        Speed(unit),
        TextColumn("[dim]{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, speed_estimate_period=WINDOW) as progress:
        task = progress.add_task(title, total=total, note="")

        def report(done: int, note: str = "") -> None:
            progress.update(task, advance=done, note=note)

        yield report
