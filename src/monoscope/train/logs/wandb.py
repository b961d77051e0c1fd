"""Weights & Biases: a run of the project ``monoscope``, named like the run's folder.

Account, project and offline use are told by that library's own environment variables, such as ``WANDB_MODE=offline``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from monoscope.train.logs import Tell

NEEDS = "wandb"


@contextmanager
def writer(folder: Path) -> Iterator[Tell]:
    """One metric for each dictionary and term, over tokens."""
    import wandb

    with wandb.init(project="monoscope", name=folder.name, dir=str(folder)) as run:

        def tell(tokens: int, terms: Mapping[str, Mapping[str, float]]) -> None:
            flat = {f"{who}/{name}": value for who, values in terms.items() for name, value in values.items()}
            run.log(flat, step=tokens)

        yield tell
