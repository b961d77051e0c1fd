"""Checkpoints: one safetensors file, replaced in one move, from which training goes on bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.train.trainee import Trainee

NAME = "checkpoint.safetensors"


def save(path: Path, trainees: Mapping[str, Trainee], facts: Mapping[str, Any]) -> None:
    """Write the state of all trainees and ``facts`` (JSON) into the folder ``path``."""
    tensors = {
        f"{who}/{key}": t.to("cpu", copy=True).contiguous()
        for who, one in trainees.items()
        for key, t in one.state().items()
    }
    folder.write_bytes(path / NAME, save_tensors(tensors, {"facts": json.dumps(dict(facts))}))


def restore(path: Path, trainees: Mapping[str, Trainee], plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """Set all trainees back to the checkpoint in ``path``; returns its facts, or None when there is no checkpoint.

    Raises:
        MonoscopeError: the file is damaged, or belongs to a training of another plan.
    """
    if not (path / NAME).is_file():
        return None
    try:
        with safe_open(path / NAME, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, ValueError) as error:
        raise MonoscopeError(
            f"the checkpoint is damaged: {error}", where=str(path / NAME), fix="remove it; training then begins anew"
        ) from error
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
