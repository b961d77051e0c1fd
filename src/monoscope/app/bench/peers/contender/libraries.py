"""The other libraries, each a file here, and which packages they come in."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

import torch

from .trainer import Contender

PACKAGES = {"saelens": "sae-lens", "dictionary_learning": "dictionary-learning", "sparsify": "eai-sparsify"}


def contender(name: str, setting: dict[str, Any], width: int) -> Contender:
    """The trainer ``library:kind``, for rows of ``width`` numbers."""
    library, kind = name.split(":")
    made: Contender = importlib.import_module(f".{library}", __package__).contender(setting, width, kind)
    return made


def versions(*libraries: str) -> dict[str, str | None]:
    """The versions of torch and of the libraries; None of one that is not installed."""
    found: dict[str, str | None] = {"torch": str(torch.__version__)}
    for library in libraries:
        try:
            found[library] = metadata.version(PACKAGES[library])
        except metadata.PackageNotFoundError:
            found[library] = None
    return found
