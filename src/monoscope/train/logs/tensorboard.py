"""TensorBoard event files in the run's folder: ``tensorboard --logdir RUN/tensorboard``.

A training that goes on opens a file of its own, which takes the place of what earlier files tell from there on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from monoscope.train.logs import Tell

NEEDS = "tensorboard"


@contextmanager
def writer(folder: Path) -> Iterator[Tell]:
    """One scalar for each dictionary and term, over tokens; each step once, though it be told again."""
    from torch.utils.tensorboard import SummaryWriter

    with ExitStack() as stack:
        events: Any = None

        def tell(tokens: int, terms: Mapping[str, Mapping[str, float]]) -> None:
            nonlocal events
            if events is None:  # only the first step tells from where on others are told again
                events = stack.enter_context(SummaryWriter(str(folder / "tensorboard"), purge_step=tokens))
            for who, values in terms.items():
                for name, value in values.items():
                    events.add_scalar(f"{who}/{name}", value, tokens)
            events.flush()  # a kill loses no step that a checkpoint has

        yield tell
