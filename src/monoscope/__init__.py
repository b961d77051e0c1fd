"""Monoscope reads a language model's mind. See ``docs/`` for a tour; this module is the stable public face."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monoscope.app.face import open_catalogue, read
    from monoscope.concepts import concept
    from monoscope.dictionary.io import load
    from monoscope.errors import MonoscopeError
    from monoscope.intervene.steering import steer
    from monoscope.models import load_model
    from monoscope.train.fit import fit
    from monoscope.watch.live import watch

# GNU OpenMP spins for milliseconds at every barrier, so that another program on one core slows parallel work a hundred
# times. Microseconds lose nothing on an idle machine. Read once, when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "500")

__version__ = "0.1.0"
__all__ = ["MonoscopeError", "concept", "fit", "load", "load_model", "open_catalogue", "read", "steer", "watch"]

_HOMES = {
    "MonoscopeError": "monoscope.errors",
    "concept": "monoscope.concepts",
    "fit": "monoscope.train.fit",
    "load": "monoscope.dictionary.io",
    "load_model": "monoscope.models",
    "open_catalogue": "monoscope.app.face",
    "read": "monoscope.app.face",
    "steer": "monoscope.intervene.steering",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import monoscope`` alone stays quick."""
    if name == "watch":  # a room that can be called
        return importlib.import_module("monoscope.watch")
    if name not in _HOMES:
        raise AttributeError(f"module 'monoscope' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
