"""Progress on the terminal: one bar a step, with tokens per second, the time left and what is being watched."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

console = Console(stderr=True)


class Report(Protocol):
    """Told how many more units are done, and what to show beside the bar."""

    def __call__(self, done: int, note: str = "") -> None:
        """``done`` is added to what was done before."""
        ...


def silent(done: int, note: str = "") -> None:
    """A report that shows nothing."""


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
        TextColumn("[cyan]{task.fields[speed]}"),
        TextColumn("[dim]{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    began, count = time.monotonic(), 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, speed="", note="")

        def report(done: int, note: str = "") -> None:
            nonlocal count
            count += done
            speed = count / max(1e-9, time.monotonic() - began)
            progress.update(task, advance=done, speed=f"{speed:,.0f} {unit}/s", note=note)

        yield report
