"""What a bar came to: lines of paper, expectation and finding, and a verdict that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from rich.table import Table

from monoscope.evaluate import Estimate

HOLDS, FAILS, NOT_COMPARABLE = "holds", "does not hold", "not comparable"


@dataclass(frozen=True)
class Line:
    """One quantity. ``holds`` is None where it is shown and not judged."""

    what: str
    paper: str
    expected: str
    found: str
    holds: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """The lines of a bar, and why it cannot be compared, where it cannot."""

    lines: tuple[Line, ...]
    incomparable: str = ""

    @property
    def verdict(self) -> str:
        """A bar holds when every line that is judged does. One without such a line says nothing."""
        judged = [line.holds for line in self.lines if line.holds is not None]
        if self.incomparable or not judged:
            return NOT_COMPARABLE
        return HOLDS if all(judged) else FAILS

    def to_json(self) -> dict[str, Any]:
        """The verdict and the lines."""
        return {"verdict": self.verdict, "incomparable": self.incomparable, "lines": [asdict(x) for x in self.lines]}

    def table(self, title: str, source: str) -> Table:
        """The lines, for the terminal."""
        shown = Table(title=f"{title}: {self.verdict}", caption=self.incomparable or None, title_justify="left")
        for head in ("", source, "expected here", "found", ""):
            shown.add_column(head)
        for line in self.lines:
            mark = "" if line.holds is None else "holds" if line.holds else "does not"
            shown.add_row(line.what, line.paper, line.expected, line.found, mark)
        return shown


def estimate(written: Mapping[str, float | None]) -> Estimate:
    """What ``Estimate.to_json`` wrote."""
    return Estimate(written["value"], written["low"], written["high"])


def words(e: Estimate, show: Callable[[float], str] = "{:.3g}".format) -> str:
    """A number with its interval."""
    if e.value is None or e.low is None or e.high is None:
        return "not defined"
    return f"{show(e.value)} ({show(e.low)} to {show(e.high)})"


def percent(x: float) -> str:
    """A share as it is read."""
    return f"{100 * x:.1f} %"


def above_zero(e: Estimate) -> bool:
    """Whether the whole interval is above 0."""
    return e.low is not None and e.low > 0


def negative(e: Estimate) -> Estimate:
    """The same difference, taken the other way round."""
    if e.value is None or e.low is None or e.high is None:
        return e
    return Estimate(-e.value, -e.high, -e.low)


def rises(values: Sequence[float]) -> bool:
    """Whether each value is above the one before it."""
    return all(a < b for a, b in pairwise(values))
