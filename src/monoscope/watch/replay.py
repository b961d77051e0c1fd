"""Rules on a recording: the alarms that they would have raised, or did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from monoscope import progress
from monoscope.watch.blocks import Block
from monoscope.watch.drift import Drift, Drifted
from monoscope.watch.monitor import Event, Monitor
from monoscope.watch.recording import Recording
from monoscope.watch.rules import Rules


@dataclass
class Replayed:
    """What rules say of a recording.

    Args:
        events: as (sequence, event), in the order in which tokens were read.
        drifted: drift alarms.
        names: of the sequences that have one.
        tokens: how many were recorded.
        sequences: of how many sequences.
        complete: whether the recording was closed.
    """

    events: list[tuple[int, Event]] = field(default_factory=list)
    drifted: list[Drifted] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    sequences: int = 0
    complete: bool = False


def replay(recording: Recording, rules: Rules, report: progress.Report = progress.silent) -> Replayed:
    """What the rules say of every recorded token.

    Live monitors see values in the precision in which they are recorded, so these are the alarms that the rules would
    have raised then.

    Raises:
        MonoscopeError: the rules are of another model, or a signal was not recorded.
    """
    columns, drift, found = recording.columns(rules), Drift(rules), Replayed()
    monitors: dict[int, Monitor] = {}
    numbers: set[int] = set()
    for block in recording.blocks():
        values = columns.values(block)
        found.events += _events(block, values, monitors, rules)
        for sequence, rows in runs(block):
            found.drifted += drift.see(sequence, values[rows])
            numbers.add(sequence)
        for sequence in block.notes.get("ended", ()):
            monitors.pop(sequence, None)
        found.names |= {int(number): name for number, name in block.notes.get("named", {}).items()}
        found.tokens += len(block)
        found.complete |= bool(block.notes.get("complete"))
        report(len(block))
    found.sequences = len(numbers)
    return found


def seen(recording: Recording, rules: Rules) -> Iterator[tuple[int, np.ndarray]]:
    """The values of the rules' signals on every recorded token, as (sequence, rows), in the order of reading.

    Raises:
        MonoscopeError: the rules are of another model, or a signal was not recorded.
    """
    columns = recording.columns(rules)
    for block in recording.blocks():
        values = columns.values(block)
        yield from ((sequence, values[rows]) for sequence, rows in runs(block))


def runs(block: Block) -> Iterator[tuple[int, slice]]:
    """Tokens of one sequence that stand together: its number, and their rows."""
    if len(block):
        cuts = [0, *(np.flatnonzero(np.diff(block.sequences)) + 1).tolist(), len(block)]
        for start, stop in pairwise(cuts):
            yield int(block.sequences[start]), slice(start, stop)


def _events(block: Block, values: np.ndarray, monitors: dict[int, Monitor], rules: Rules) -> list[tuple[int, Event]]:
    """The events of a block; each sequence's tokens are taken together, and what they give is put in order again."""
    order = np.argsort(block.sequences, kind="stable")
    numbers, starts = np.unique(block.sequences[order], return_index=True)
    found: list[tuple[int, int, Event]] = []
    for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
        first = int(block.places[rows[0]])
        monitor = monitors.setdefault(number, Monitor(rules, first))
        found += [(int(rows[e.place - first]), number, e) for e in monitor.step(values[rows])]
    return [(number, event) for _, number, event in sorted(found, key=lambda each: each[0])]
