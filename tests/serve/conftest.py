"""Two servers that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serve_live import Live, everything, live, nothing_but_the_model
from serve_world import reference


@pytest.fixture(autouse=True, scope="session")
def model_is_loaded() -> None:
    """So that no single example of a property has to wait for it."""
    reference()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """All that a server may have."""
    with live(everything(tmp_path_factory.mktemp("served"))) as found:
        yield found


@pytest.fixture(scope="session")
def plain() -> Iterator[Live]:
    """The model alone, and small limits."""
    with live(nothing_but_the_model()) as found:
        yield found
