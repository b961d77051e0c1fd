"""Weights & Biases: a run of the project ``monoscope``, named like the run's folder, with its plan as configuration.

Account, project and offline use are told by that library's own environment variables, such as ``WANDB_MODE=offline``.
A training that goes on continues its run there: the id is kept in ``wandb/id`` in the run's folder. What the service
lacks of earlier steps is told from ``log.jsonl``; so offline, the newest of the files to upload holds all of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from monoscope.folder import read_json, write_bytes
from monoscope.train.logs import Tell

NEEDS = "wandb"


@contextmanager
def writer(folder: Path) -> Iterator[Tell]:
    """One metric for each dictionary and term, over tokens; each step once, though it be told again."""
    import wandb

    where: dict[str, Any] = {"project": os.environ.get("WANDB_PROJECT", "monoscope"), "dir": str(folder)}
    plan = folder / "plan.json"
    config = read_json(plan) if plan.is_file() else None
    with wandb.init(name=folder.name, id=_id(folder), resume="allow", config=config, **where) as run:
        begun = False

        def put(tokens: int, terms: Mapping[str, Mapping[str, float]]) -> None:
            if tokens < run.starting_step:  # it is there already: a step done again has the same numbers
                return
            flat = {f"{who}/{name}": value for who, values in terms.items() for name, value in values.items()}
            run.log(flat, step=tokens, commit=True)  # else it waits for the next step, and a stop may lose it

        def tell(tokens: int, terms: Mapping[str, Mapping[str, float]]) -> None:
            nonlocal begun
            if not begun:
                for step in _before(tokens, folder):
                    put(*step)
            begun = True
            put(tokens, terms)

        yield tell


def _id(folder: Path) -> str:
    """The id of the folder's run there; drawn once, since its path may be another run's later, or elsewhere."""
    path = folder / "wandb" / "id"
    if not path.is_file():
        write_bytes(path, token_hex(8).encode())
    return path.read_text()


def _before(tokens: int, folder: Path) -> Iterator[tuple[int, dict[str, dict[str, float]]]]:
    """The steps before the one of so many ``tokens``: a kill leaves them in the log, but not all on their way there."""
    path = folder / "log.jsonl"
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            for row in map(json.loads, file):
                if (step := row.pop("tokens")) < tokens:
                    yield step, row
