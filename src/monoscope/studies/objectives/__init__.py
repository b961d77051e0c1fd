"""What a text is wanted to be, one a file: ``score(prompt, said)`` says from 0 to 1 how good a continuation is.

``objective`` also takes anybody's function, by ``module:function`` or ``file.py:function``, and several joined by
``+``, which are averaged. A file is run as any program is: name none that you do not trust.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from monoscope import plugins
from monoscope.errors import MonoscopeError

PACKAGE = "monoscope.studies.objectives"

Objective = Callable[[str, str], float]


def objective(text: str) -> Objective:
    """The objective that a text names, checked at every call to give a finite number.

    Raises:
        MonoscopeError: there is none, or what is named is no function.
    """
    parts = [(part.strip(), _one(part.strip())) for part in text.split("+")]

    def score(prompt: str, said: str) -> float:
        return sum(_checked(name, function(prompt, said)) for name, function in parts) / len(parts)

    return score


def _one(text: str) -> Objective:
    name, colon, function = text.rpartition(":")
    if not colon:
        plugin: Objective = plugins.load(PACKAGE, text).score
        return plugin
    found = getattr(_module(name), function, None)
    if not callable(found):
        raise MonoscopeError(f"{name} has no function {function!r}", fix="name one that takes (prompt, said)")
    made: Objective = found
    return made


def _module(name: str) -> ModuleType:
    path = Path(name)
    try:
        if path.suffix != ".py":
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise MonoscopeError(f"there is no file {name}", fix="name a Python file and a function: FILE.py:FUNCTION")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (ImportError, SyntaxError) as error:
        raise MonoscopeError(f"{name} cannot be imported: {error}", fix="correct the name, or the file") from error


def _checked(name: str, value: object) -> float:
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise MonoscopeError(
            f"the objective {name} gave {value!r}", fix="let it return a finite number, higher is better"
        )
    return float(value)
