"""Which values an objective's options may have, so that a wrong one is refused before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from monoscope.errors import MonoscopeError


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included unless said otherwise.

    Args:
        low: the least.
        high: the greatest.
        above: whether ``low`` itself is left out.
        below: whether ``high`` itself is.
        whole: whether only whole numbers will do.
        several: whether it is a sequence of such numbers that is wanted, not one.
        words: what will do instead of a number.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    several: bool = False
    words: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is such a number, or a sequence of such."""
        if self.several:
            one = replace(self, several=False)
            return isinstance(value, Sequence) and not isinstance(value, str) and all(map(one.holds, value))
        if isinstance(value, str):
            return value in self.words
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            return False
        number = float(value)
        from_low = number > self.low if self.above else number >= self.low
        to_high = number < self.high if self.below else number <= self.high
        return from_low and to_high and (not self.whole or number.is_integer())

    def __str__(self) -> str:
        low = f" {'above' if self.above else 'from'} {self.low:g}" if self.low > -math.inf else ""
        high = f" {'below' if self.below else 'up to'} {self.high:g}" if self.high < math.inf else ""
        kind = "whole number" if self.whole else "number"
        return " or ".join(((f"{kind}s" if self.several else f"a {kind}") + low + high, *self.words))


@dataclass(frozen=True)
class Choice:
    """One of some names, or truth values."""

    names: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return any(value == name and type(value) is type(name) for name in self.names)

    def __str__(self) -> str:
        return "one of " + ", ".join(str(name) for name in self.names)


Allowed = Range | Choice
SHARE = Range(0, 1)
SHARES = Range(0, 1, several=True)
POSITIVE = Range(0, above=True)
NOT_NEGATIVE = Range(0)
COUNT = Range(0, whole=True)
SOME = Range(1, whole=True)
SEED = Range(0, 2**63 - 1, whole=True)
SWITCH = Choice((True, False))
PRECISION = Choice(("float32", "bfloat16"))


def check(who: str, options: Mapping[str, Any], defaults: Mapping[str, Any], allowed: Mapping[str, Allowed]) -> None:
    """Refuse options that are not known, or whose values are not allowed.

    Args:
        who: whose options they are, for what is said.
        options: what was given. Where a default is None, None will do.
        defaults: all options that there are.
        allowed: of each, which values it may have; one without an entry may have any.

    Raises:
        MonoscopeError: naming the option, its value and what to choose.
    """
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise MonoscopeError(f"{who} has no option {unknown[0]!r}", fix=f"its options: {', '.join(defaults) or 'none'}")
    for name, value in options.items():
        if name not in allowed or (value is None and defaults[name] is None):
            continue
        if not allowed[name].holds(value):
            raise MonoscopeError(f"{name} of {who} is {value!r}", fix=f"choose {allowed[name]}")
