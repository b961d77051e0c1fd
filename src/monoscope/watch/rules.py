"""Rules over signals, as TOML files that name the model's fingerprint and the dictionaries' content hashes.

    model = "reference-a"
    fingerprint = "89f1…"

    [[signals]]
    name = "docstring"
    of = { dictionary = "dictionary", feature = 12, sha256 = "e15c…" }

    [[rules]]
    name = "inside a docstring"
    when = { signal = "docstring", aggregation = "ema", options = { half_life = 4 }, above = 1.5, clear = 0.5 }
    lasting = 2

Paths are relative to the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from monoscope import folder, plugins, tables
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.signals.direction import Direction, Sources
from monoscope.watch.actions import PACKAGE as ACTIONS
from monoscope.watch.aggregations import PACKAGE


class Aggregation(Protocol):
    """What a file of ``watch/aggregations`` makes."""

    def step(self, value: float) -> float:
        """The number at the next token, which has this value."""
        ...


@dataclass(frozen=True)
class Signal:
    """A number of every token.

    Args:
        name: what conditions call it.
        of: the feature whose value it is, or the vector with which the activation is multiplied.
        site: where it is read; for a feature by default where its dictionary reads.
        bias: what is added to a product with a vector.
        before: read the site before steering writes there; otherwise what was written is read.
        density: the range of the share of tokens with a value above 0 that calibration saw, for the drift alarm.
    """

    name: str
    of: Direction
    site: str | None = None
    bias: float = 0.0
    before: bool = False
    density: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise MonoscopeError(f"the signal of {self.of} has no name", fix="give it one")
        if self.site is None and self.of.vector is not None:
            raise MonoscopeError(f"where is {self.of} read?", fix="give the signal a site")
        if self.bias != 0 and self.of.vector is None:
            raise MonoscopeError(f"{self.name} is a feature, which has no bias", fix="leave it out")
        if not math.isfinite(self.bias):
            raise MonoscopeError(f"{self.name} has a bias of {self.bias}", fix="give a number")
        if self.density is not None and (len(self.density) != 2 or not 0 <= self.density[0] <= self.density[1] <= 1):
            raise MonoscopeError(
                f"{self.name} has a density of {self.density}", fix="give [low, high], between 0 and 1"
            )


@dataclass(frozen=True)
class Condition:
    """A signal above a threshold, or other conditions of which all, any or none hold.

    Args:
        signal: its name.
        above: the threshold: the condition begins to hold when the number exceeds it.
        clear: it no longer holds when the number is below this, which is at most ``above``; without it, as soon as the
            number no longer exceeds ``above``.
        aggregation: which number: a name from ``watch/aggregations``.
        options: the aggregation's.
        all, any, none: conditions, instead of a signal.
    """

    signal: str | None = None
    above: float | None = None
    clear: float | None = None
    aggregation: str = "token"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    none: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if sum(map(bool, (self.signal, self.all, self.any, self.none))) != 1:
            raise MonoscopeError(
                "a condition is of one signal, or of other conditions",
                fix="give signal and above, or one of all, any, none with a list of conditions",
            )
        if self.signal is None:
            if self.above is not None or self.clear is not None or self.options or self.aggregation != "token":
                raise MonoscopeError("thresholds belong to signals", fix="give them to the conditions in the list")
            return
        if self.above is None or not math.isfinite(self.above):
            raise MonoscopeError(f"{self.signal} is above {self.above}?", fix="give the condition a threshold: above")
        if self.clear is not None and not (math.isfinite(self.clear) and self.clear <= self.above):
            raise MonoscopeError(
                f"{self.signal} is raised above {self.above} and cleared below {self.clear}",
                fix="clear is at most above",
            )
        self.aggregated()

    def aggregated(self) -> Aggregation:
        """The aggregation of a new sequence.

        Raises:
            MonoscopeError: there is none of the name, or it does not take the options.
        """
        try:
            made: Aggregation = _kind(self.aggregation)(**self.options)
        except TypeError as error:
            raise MonoscopeError(
                f"{self.aggregation} of {self.signal} does not take {dict(self.options)}: {error}",
                fix=f"see the options of watch/aggregations/{self.aggregation}.py",
            ) from error
        return made

    def leaves(self) -> Iterator[Condition]:
        """The conditions on signals, in order."""
        if self.signal is not None:
            yield self
        for part in (*self.all, *self.any, *self.none):
            yield from part.leaves()


@cache
def _kind(name: str) -> type:
    """The class of an aggregation; looked up once, because every sequence asks for those of all conditions."""
    found: type = plugins.load(PACKAGE, name).Aggregation
    return found


@dataclass(frozen=True)
class Act:
    """Something to be done when a rule is raised or cleared. As a text in a file: an action without options.

    Args:
        name: from ``watch/actions``.
        options: the action's.
        file: a file that it needs, such as a recipe.
        sha256: of that file; another one is refused.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    file: str | None = field(default=None, metadata=tables.PATH)
    sha256: str | None = None

    def __post_init__(self) -> None:
        plugins.load(ACTIONS, self.name)
        if self.file is not None and not Path(self.file).is_file():
            raise MonoscopeError(f"{self.name} needs {self.file}, which is not there", fix="name its file")
        if self.file is not None and self.sha256 and self.sha256 != folder.content_hash(Path(self.file)):
            raise MonoscopeError(
                f"{self.file} is not what these rules were made with: its content differs",
                fix="restore it, or make the rules again",
            )

    @classmethod
    def parse(cls, text: str) -> Act:
        """An action by its name."""
        return cls(text)


@dataclass(frozen=True)
class Rule:
    """When an alarm is raised and cleared.

    Args:
        name: what the alarm is called.
        when: the condition.
        lasting: it is raised when the condition has held on so many tokens in a row.
        keep: once raised it stays raised for so many tokens at least, and as long as the condition holds.
        actions: what follows.
    """

    name: str
    when: Condition
    lasting: int = 1
    keep: int = 1
    actions: tuple[Act, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise MonoscopeError("a rule has no name", fix="give it one")
        for what in ("lasting", "keep"):
            tokens = getattr(self, what)
            if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
                raise MonoscopeError(f"{self.name}: {what} = {tokens!r}", fix="give a number of tokens, at least 1")


@dataclass(frozen=True)
class Rules:
    """Signals, rules over them, and the model they were made for.

    Args:
        signals: their order is that of the columns of values.
        rules: over these signals; there may be none.
        model: the model's name, for people.
        fingerprint: the model's; rules that have one are refused by any other model.
        notes: anything worth keeping, such as where the thresholds come from.
    """

    signals: tuple[Signal, ...]
    rules: tuple[Rule, ...] = ()
    model: str = ""
    fingerprint: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for kind, names in (("signals", self.names), ("rules", [rule.name for rule in self.rules])):
            twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
            if twice is not None:
                raise MonoscopeError(f"two {kind} are called {twice!r}", fix="rename one of them")
        for leaf in (leaf for rule in self.rules for leaf in rule.when.leaves()):
            if leaf.signal not in self.names:
                raise unknown_name("signal", str(leaf.signal), self.names)

    @property
    def names(self) -> list[str]:
        """The signals' names, in the order of the columns."""
        return [signal.name for signal in self.signals]

    def pinned(self, sources: Sources) -> Rules:
        """The same with the fingerprint and hashes of the model and the dictionaries and vectors that are there now."""
        signals = tuple(replace(s, of=replace(s.of, sha256=sources.sha256(s.of))) for s in self.signals)
        rules = tuple(replace(rule, actions=tuple(map(_pinned, rule.actions))) for rule in self.rules)
        return replace(self, signals=signals, rules=rules, fingerprint=sources.fingerprint)


def _pinned(act: Act) -> Act:
    return act if act.file is None else replace(act, sha256=folder.content_hash(Path(act.file)))


def digest(rules: Rules) -> str:
    """SHA-256 over everything that the alarms and actions of rules depend on, wherever their files are."""
    told = json.dumps(_placeless(asdict(replace(rules, notes={}))), sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def _placeless(told: Any) -> Any:
    """The same without the paths of what is known by its hash."""
    if isinstance(told, dict):
        known = ("dictionary", "vector", "file") if told.get("sha256") else ()
        return {key: _placeless(value) for key, value in told.items() if key not in known}
    return [_placeless(value) for value in told] if isinstance(told, list | tuple) else told


def load(path: str | Path) -> Rules:
    """Read rules; their relative paths become those seen from where the program runs.

    Raises:
        MonoscopeError: there is no such file, or it holds no rules; the message says which part is wrong.
    """
    return tables.load(Rules, path, "rules")


def save(rules: Rules, path: str | Path) -> None:
    """Write rules. Paths that are under the file's folder become relative, so that the folder can be moved."""
    tables.save(rules, path)
