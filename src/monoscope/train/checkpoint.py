"""Checkpoints: one safetensors file, replaced in one move, from which training goes on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.train.trainee import Trainee

NAME = "checkpoint.safetensors"


def save(path: Path, trainees: Mapping[str, Trainee], facts: Mapping[str, Any]) -> None:
    """Write the state of all trainees and ``facts`` (JSON) into the folder ``path``."""
    tensors = {f"{who}/{key}": t.contiguous() for who, one in trainees.items() for key, t in one.state().items()}
    with folder.replacing(path / NAME) as partial:
        try:
            save_file(tensors, partial, {"facts": json.dumps(dict(facts))})  # straight from the tensors' own memory
        except SafetensorError as error:
            raise OSError(str(error)) from error


def facts_in(path: Path) -> dict[str, Any] | None:
    """The facts of the checkpoint in ``path``, or None when there is none.

    Raises:
        MonoscopeError: the file is damaged.
    """
    if not (path / NAME).is_file():
        return None
    with _opened(path) as file:
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    return facts


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path / NAME, "pt") as file:
            yield file
    except (SafetensorError, KeyError, ValueError) as error:
        raise MonoscopeError(
            f"the checkpoint is damaged: {error}", where=str(path / NAME), fix="remove it; training then begins anew"
        ) from error


def restore(path: Path, trainees: Mapping[str, Trainee], plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """Set all trainees back to the checkpoint in ``path``; returns its facts, or None when there is no checkpoint.

    Raises:
        MonoscopeError: the file is damaged, or belongs to a training of another plan.
    """
    facts = facts_in(path)
    if facts is None:
        return None
    with _opened(path) as file:
        tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    if facts["plan"] != json.loads(json.dumps(dict(plan))):
        differing = sorted(k for k in plan if facts["plan"].get(k) != json.loads(json.dumps(plan[k])))
        raise MonoscopeError(
            f"the checkpoint belongs to a training with another {', '.join(differing) or 'plan'}",
            where=str(path),
            fix="choose another folder, or remove this one",
        )
    for who, one in trainees.items():
        one.restore({key.split("/", 1)[1]: t for key, t in tensors.items() if key.startswith(f"{who}/")})
    return facts
