"""One thread each for torch and Numba: what tests compute is tiny, and waking threads costs more than the work.

Where there is no CUDA device, the kernels for it run under Triton's interpreter. Triton asks once, when it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numba
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


LONGEST = ("quickstart", "train", "interpret", "app")  # folders, the longest first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one at the end."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.parent.name, len(LONGEST)))
