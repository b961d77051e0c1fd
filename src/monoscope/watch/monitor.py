"""The state of one sequence under some rules. Knows nothing of models.

A sequence gives the same events in whatever pieces it is fed: tokens are taken one at a time, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from monoscope.errors import MonoscopeError
from monoscope.watch.precision import rounded
from monoscope.watch.rules import Condition, Rule, Rules


@dataclass(frozen=True)
class Event:
    """A rule is raised or cleared.

    Args:
        rule: its name.
        place: the token's place in its sequence, from 0.
        kind: which.
        value: the number there that the first of the rule's conditions on a signal looks at.
    """

    rule: str
    place: int
    kind: Literal["raised", "cleared"]
    value: float


class Monitor:
    """Told the values of a sequence's tokens as they come, it says when rules are raised and cleared."""

    def __init__(self, rules: Rules, place: int = 0) -> None:
        """Begin a sequence, at its first token or at a later ``place``."""
        self.place, self._names = place, rules.names
        self._states = [_State(rule, rules.names) for rule in rules.rules]
        self._steps = [(state.when.step, state) for state in self._states]

    @property
    def active(self) -> list[str]:
        """The names of the rules that are raised now, in the order of the rules."""
        return [state.name for state in self._states if state.since is not None]

    def step(self, values: Float[np.ndarray, "tokens n_signals"]) -> list[Event]:
        """Take the next tokens. Values are rounded as recordings round them; see ``precision``.

        Raises:
            MonoscopeError: there is not a value of each signal, or one is not a finite number.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(self._names):
            raise MonoscopeError(
                f"values of shape {given.shape} for {len(self._names)} signals", fix="give a row for each token"
            )
        if not np.isfinite(given).all():
            token, signal = (int(i) for i in np.argwhere(~np.isfinite(given))[0])
            raise MonoscopeError(
                f"{self._names[signal]} is {given[token, signal]} on token {self.place + token}",
                fix="look for overflow in the model's forward pass; leave padding out",
            )
        events = []
        for row in rounded(given).tolist():
            for holds, state in self._steps:
                if holds(row):
                    event = state.holds(self.place)
                elif state.since is None:
                    state.held = 0
                    continue
                else:
                    event = state.ends(self.place)
                if event is not None:
                    events.append(event)
            self.place += 1
        return events


class _Leaf:
    """A condition on a signal."""

    __slots__ = ("above", "clear", "column", "holds", "next", "value")

    def __init__(self, condition: Condition, names: list[str]) -> None:
        assert condition.signal is not None and condition.above is not None
        self.column, self.next = names.index(condition.signal), condition.aggregated().step
        self.above = condition.above
        self.clear = condition.clear
        self.holds, self.value = False, 0.0

    def step(self, row: list[float]) -> bool:
        self.value = value = self.next(row[self.column])
        self.holds = value > self.above if self.clear is None or not self.holds else value >= self.clear
        return self.holds


class _Joint:
    """Conditions of which all, any or none hold. Each is told of every token, whatever the others say."""

    __slots__ = ("join", "parts", "wanted")

    def __init__(self, join: Callable[[list[bool]], bool], wanted: bool, parts: list[Any]) -> None:
        self.join, self.wanted, self.parts = join, wanted, parts

    def step(self, row: list[float]) -> bool:
        return self.join([part.step(row) for part in self.parts]) is self.wanted


class _State:
    """A rule and how long its condition has held."""

    __slots__ = ("first", "held", "keep", "lasting", "name", "since", "when")

    def __init__(self, rule: Rule, names: list[str]) -> None:
        self.name, self.lasting, self.keep = rule.name, rule.lasting, rule.keep
        leaves: list[_Leaf] = []
        self.when = _compiled(rule.when, names, leaves)
        self.first, self.held = leaves[0], 0
        self.since: int | None = None

    def holds(self, place: int) -> Event | None:
        """The condition holds on the token there."""
        self.held += 1
        if self.since is not None or self.held < self.lasting:
            return None
        self.since = place
        return Event(self.name, place, "raised", self.first.value)

    def ends(self, place: int) -> Event | None:
        """The rule is raised, and its condition does not hold on the token there."""
        self.held = 0
        if self.since is None or place - self.since < self.keep:
            return None
        self.since = None
        return Event(self.name, place, "cleared", self.first.value)


def _compiled(condition: Condition, names: list[str], leaves: list[_Leaf]) -> _Leaf | _Joint:
    """A condition ready to be stepped; its leaves join ``leaves``, in order."""
    if condition.signal is not None:
        leaf = _Leaf(condition, names)
        leaves.append(leaf)
        return leaf
    join, wanted, parts = next(
        (join, wanted, parts)
        for join, wanted, parts in (
            (all, True, condition.all),
            (any, True, condition.any),
            (any, False, condition.none),
        )
        if parts
    )
    return _Joint(join, wanted, [_compiled(part, names, leaves) for part in parts])
