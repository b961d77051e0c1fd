"""The drift alarm: when the density of a watched feature leaves the range that calibration saw.

Tokens are counted in windows of at least ``WINDOW`` tokens from at least ``SEQUENCES`` sequences. Tokens of a sequence
depend on one another, so sequences are the units: the variance of the window's density as a ratio over sequences,
beside that of independent tokens, says for how many independent tokens the window stands (at most its own), and for
these Wilson's 99.9 % interval is taken. The alarm is raised when the whole interval lies outside the range, and cleared
after a window whose interval touches it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from monoscope.errors import MonoscopeError
from monoscope.watch.precision import rounded
from monoscope.watch.rules import Rules

WINDOW, SEQUENCES = 4096, 8
DEVIATIONS = 3.2905  # of the normal distribution, two-sided 99.9 %


@dataclass(frozen=True)
class Drifted:
    """A signal's density has left its range, or is back.

    Args:
        signal: its name.
        kind: which.
        density: the window's, with its interval ``low`` to ``high``.
        tokens: watched so far, at the window's end.
    """

    signal: str
    kind: Literal["raised", "cleared"]
    density: float
    low: float
    high: float
    tokens: int


class Windows:
    """Counts the tokens on which each signal is above 0, over all sequences in the order in which they are read."""

    def __init__(self, n_signals: int, window: int = WINDOW) -> None:
        self.window, self.tokens = window, 0
        self._n_signals, self._units = n_signals, dict[int, np.ndarray]()
        self._held = 0

    def see(
        self, sequence: int, values: Shaped[np.ndarray, "n n_signals"]
    ) -> Iterator[Float[np.ndarray, "n_sequences n_signals_plus_1"]]:
        """Take a sequence's next tokens.

        Returns:
            Every window that ends: a row for each of its sequences, its tokens and then its active ones by signal.
        """
        active = rounded(values) > 0
        while len(active):
            unit = self._units.setdefault(sequence, np.zeros(1 + self._n_signals))
            room = max(1, self.window - self._held) if len(self._units) >= SEQUENCES else len(active)
            taken, active = active[:room], active[room:]
            unit += [len(taken), *taken.sum(0)]
            self._held += len(taken)
            self.tokens += len(taken)
            if self._held >= self.window and len(self._units) >= SEQUENCES:
                yield np.array(list(self._units.values()))
                self._units, self._held = {}, 0


class Drift:
    """The alarms of all signals whose range the rules hold."""

    def __init__(self, rules: Rules, window: int = WINDOW) -> None:
        self._signals = [(i, s.name, s.density) for i, s in enumerate(rules.signals) if s.density is not None]
        self._windows = Windows(len(self._signals), window)
        self.active: dict[str, bool] = {name: False for _, name, _ in self._signals}

    def see(self, sequence: int, values: Shaped[np.ndarray, "n n_signals"]) -> list[Drifted]:
        """Take a sequence's next tokens."""
        if not self._signals:
            return []
        found = []
        for units in self._windows.see(sequence, np.asarray(values)[:, [i for i, _, _ in self._signals]]):
            for column, (_, name, (least, most)) in enumerate(self._signals):
                density, low, high = interval(units[:, 0], units[:, 1 + column])
                outside = high < least or low > most
                if outside != self.active[name]:
                    self.active[name] = outside
                    kind: Literal["raised", "cleared"] = "raised" if outside else "cleared"
                    found.append(Drifted(name, kind, density, low, high, self._windows.tokens))
        return found


def interval(
    tokens: Float[np.ndarray, " n_sequences"], active: Float[np.ndarray, " n_sequences"]
) -> tuple[float, float, float]:
    """A window's density, and its interval; see the module's text."""
    n, m = float(tokens.sum()), len(tokens)
    p = float(active.sum()) / n
    independent = p * (1 - p) / n
    ratio = m / (m - 1) * float(np.square(active - p * tokens).sum()) / n**2 if m > 1 else 0.0
    effective = n / max(1.0, ratio / independent) if independent > 0 else n
    square = DEVIATIONS**2 / effective
    middle = (p + square / 2) / (1 + square)
    half = math.sqrt(square * p * (1 - p) + square**2 / 4) / (1 + square)
    return p, max(0.0, middle - half), min(1.0, middle + half)


def calibrated(rules: Rules, seen: Iterator[tuple[int, np.ndarray]], window: int = WINDOW) -> Rules:
    """The rules with the range of every signal's density: from the lowest to the highest window.

    Args:
        rules: whose signals.
        seen: values as (sequence, rows) in the order in which they were read.
        window: tokens of a window.

    Raises:
        MonoscopeError: there is not one whole window.
    """
    windows, found = Windows(len(rules.signals), window), []
    for sequence, values in seen:
        found += [units.sum(0) for units in windows.see(sequence, values)]
    if not found:
        raise MonoscopeError(
            f"{windows.tokens} tokens are no window of {window} from {SEQUENCES} sequences",
            fix="calibrate on more text",
        )
    sums = np.array(found)
    density = sums[:, 1:] / sums[:, :1]
    ranges = zip(density.min(0).tolist(), density.max(0).tolist(), strict=True)
    return replace(rules, signals=tuple(replace(s, density=r) for s, r in zip(rules.signals, ranges, strict=True)))
