"""TensorBoard event files in the run's folder: ``tensorboard --logdir RUN/tensorboard``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from monoscope.train.logs import Tell

NEEDS = "tensorboard"


@contextmanager
def writer(folder: Path) -> Iterator[Tell]:
    """One scalar for each dictionary and term, over tokens."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as events:

        def tell(tokens: int, terms: Mapping[str, Mapping[str, float]]) -> None:
            for who, values in terms.items():
                for name, value in values.items():
                    events.add_scalar(f"{who}/{name}", value, tokens)

        yield tell
