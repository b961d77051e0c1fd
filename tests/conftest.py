"""One thread each for torch and Numba: what tests compute is tiny, and waking threads costs more than the work.

Where there is no CUDA device, the kernels for it run under Triton's interpreter. Triton asks once, when it is imported.

And a Hugging Face Hub that does not answer, and a headless Chromium for the tests of pages.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

CHROMIUM = [  # the last two: one process shows all pages, so that none has to be started for each
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """What a test writes need not outlive the machine. Programs that a test starts and kills wait as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Hub that takes connections and says nothing; whoever waits to ask it again fails."""
    import huggingface_hub.constants

    from monoscope import hub

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(hub, "PATIENCE", 0.05)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: pytest.fail("it waits"))
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; without it these tests skip, unless MONOSCOPE_REQUIRE_CHROMIUM says that they must not."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    missing = None if path else "there is no Chromium on this machine"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "the Python package playwright is not installed"
    if missing:
        if os.environ.get("MONOSCOPE_REQUIRE_CHROMIUM") == "1":
            pytest.fail(f"MONOSCOPE_REQUIRE_CHROMIUM=1, but {missing}")
        pytest.skip(missing)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield running
        running.close()


def pytest_configure(config: pytest.Config) -> None:
    """Of several workers each begins at another folder, and finds the others prepared: a file is rewritten once."""
    here, worker = Path(__file__).parent, getattr(config, "workerinput", None)
    if worker and [Path(given).resolve() for given in config.args] == [here]:
        folders = sorted(str(path) for path in here.iterdir() if list(path.glob("test_*.py")))
        first = int(worker["workerid"].removeprefix("gw")) * len(folders) // worker["workercount"]
        config.args[:] = folders[first:] + folders[:first]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Without the garbage collector, which would go through all that is kept for good, again and again."""
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


# folders: the one that compiles most kernels; beside it, what needs none; then the longest, which finds them compiled
FIRST = ("quickstart", "harvest", "text", "models", "project", "train", "app", "serve")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest early, so that no worker is left alone with one, and no kernel compiled by two at a time."""
    place = {name: i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: (place.get(item.path.parent.name, len(FIRST)), item.path))
