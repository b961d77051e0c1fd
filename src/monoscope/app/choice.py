"""Which dictionary is to be trained, as it is typed: flags, a preset, ``--option`` and ``--sweep``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.train.objective import RATE, Objective, objective
from monoscope.train.presets import preset
from monoscope.train.schedules import Schedule
from monoscope.train.trainee import Normalising

ARCHITECTURE = preset("default").architecture
FLAGS: dict[str, type] = {"architecture": str, "features": int, "k": int, "seed": int}  # that a sweep may go over
OF_ALL = {**asdict(Schedule(RATE)), **asdict(Normalising())}  # options that no objective has to know
ELSEWHERE = ("k", "l0", "precision")  # flags say these, or the machine does


@dataclass(frozen=True)
class Choice:
    """One dictionary. ``k`` of 0 leaves a penalty alone; None are left to the plan."""

    architecture: str = ARCHITECTURE
    features: int | None = None
    k: int | None = None
    seed: int = 0
    skip: bool = False
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``plan.resolve`` takes by name."""
        return vars(self)

    def changed(self, key: str, text: str) -> Choice:
        """This one with a flag or an option set to what ``text`` says.

        Raises:
            MonoscopeError: nothing of that name, or a value of another type.
        """
        if key in FLAGS:
            return replace(self, **{key: value_of(key, FLAGS[key](), text)})
        defaults = options_of(self.architecture)
        if key not in defaults:
            raise unknown_name(f"option of {self.architecture}", key, defaults)
        return replace(self, options={**self.options, key: value_of(key, defaults[key], text)})


def choose(
    *,
    named: str | None = None,
    architecture: str | None = None,
    k: int | None = None,
    batch_size: int | None = None,
    options: Iterable[str] = (),
    **flags: Any,
) -> Choice:
    """A choice from what was typed, over the preset that was ``named``.

    A preset's penalty is used as published, unless ``k`` says what L0 it is to reach.

    Raises:
        MonoscopeError: an unknown preset, architecture or option, or a value of another type.
    """
    if named is None:
        made = Choice(architecture or ARCHITECTURE, k=k, batch_size=batch_size, **flags)
    else:
        base = preset(named)
        if architecture not in (None, base.architecture):
            raise MonoscopeError(f"{named} trains {base.architecture}", fix="leave out --architecture, or --preset")
        told = k if k is not None else base.k or 0
        size = base.batch_size if batch_size is None else batch_size
        made = Choice(base.architecture, k=told, batch_size=size, options=base.arguments, **flags)
    for key, text in map(pair, options):
        if key in FLAGS:
            raise MonoscopeError(f"{key} is a flag of its own", fix=f"write --{key} {text}")
        made = made.changed(key, text)
    return made


def grid(choice: Choice, sweep: Iterable[str]) -> dict[str, Choice]:
    """Every combination of the values of ``key=v1,v2,…``, by a name that can be a folder's.

    That is such as ``k=16,penalty=3``, or, of one key, the value alone.

    Raises:
        MonoscopeError: nothing of that name, a value of another type, or a key or a combination given twice.
    """
    axes = [(key, text.split(",")) for key, text in map(pair, sweep)]
    axes.sort(key=lambda axis: axis[0] != "architecture")  # what options there are depends on it
    keys = [key for key, _ in axes]
    if len(set(keys)) < len(keys):
        raise MonoscopeError("a key is swept over twice", fix="give all its values at once, --sweep key=v1,v2")
    made: dict[str, Choice] = {}
    for values in product(*(texts for _, texts in axes)):
        point = choice
        for key, text in zip(keys, values, strict=True):
            point = point.changed(key, text)
        name = point_name(keys, values)
        if name in made:
            raise MonoscopeError(f"the sweep has {name} twice", fix="give each value once")
        made[name] = point
    return made


def point_name(keys: Sequence[str], values: Sequence[str]) -> str:
    """A name for a point of a sweep, of characters that every file system takes."""
    words = values if len(keys) == 1 else [f"{key}={text}" for key, text in zip(keys, values, strict=True)]
    return re.sub(r"[^\w.+=,-]|^\.+", "_", ",".join(text.strip() for text in words)) or "_"


def options_of(name: str) -> dict[str, Any]:
    """What ``--option`` can set for an architecture, with the defaults that say of which type each is."""
    kind = architecture(name)
    settings = {key: type_() for key, type_ in kind.settings.items()}
    known = {**settings, **default_values(objective(kind.objective)), **OF_ALL}
    return {key: default for key, default in known.items() if key not in ELSEWHERE}


def default_values(goal: type[Objective]) -> dict[str, Any]:
    """An objective's options; where it leaves one to be found, the value that the class it builds on has."""
    known = dict(goal.defaults)
    for kind in goal.__mro__:
        inherited = getattr(kind, "defaults", {})
        known |= {key: inherited.get(key) for key, value in known.items() if value is None}
    return known


def pair(text: str) -> tuple[str, str]:
    """``key=value``, apart.

    Raises:
        MonoscopeError: there is no ``=``, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise MonoscopeError(f"{text!r} is no key=value", fix="write for example penalty=3")
    return key.strip().replace("-", "_"), value.strip()


def value_of(key: str, default: Any, text: str) -> Any:
    """What ``text`` says, in the type of the option's default; a default of None takes numbers and words.

    Raises:
        MonoscopeError: the text is of another type.
    """
    try:
        return READERS[type(default)](text)
    except (KeyError, ValueError) as error:
        raise MonoscopeError(f"{key} cannot be {text!r}", fix=f"give {WORDS[type(default)]}") from error


def truth(text: str) -> bool:
    """``true`` or ``false``; another word is a KeyError."""
    return {"true": True, "false": False}[text.lower()]


def anything(text: str) -> int | float | str | tuple[float, ...]:
    """A whole number, another number, several of them, or the text itself."""
    if "," in text:
        return numbers(text)
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    return tuple(float(part) for part in text.split(",") if part)


READERS: dict[type, Any] = {
    bool: truth, int: int, float: float, str: str, tuple: numbers, list: numbers, type(None): anything,
}  # fmt: skip
WORDS = {
    bool: "true or false", int: "a whole number", float: "a number", tuple: "numbers with commas between them",
}  # fmt: skip
