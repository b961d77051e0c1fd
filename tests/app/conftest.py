"""A demo catalogue, its application in a test client, and the same behind a real port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from app_demo import DemoCatalogue, demo_levels, demo_reader
from planted_run import make as make_planted
from starlette.testclient import TestClient

from monoscope.app.atlas import Atlas, Part
from monoscope.app.run import Run
from monoscope.app.ui.blind import Blind
from monoscope.app.ui.server import create_app, free_socket
from monoscope.catalogue.annotations import Annotations
from monoscope.interpret.ratings import Ratings
from pages_visit import Visit


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of reference-a over code and DNA, with a feature for DNA; tests may add files, and change none."""
    return make_planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def catalogue() -> DemoCatalogue:
    return DemoCatalogue()


@pytest.fixture(scope="session")
def annotations(catalogue: DemoCatalogue, tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return Annotations(tmp_path_factory.mktemp("run"), "demo", len(catalogue))


@pytest.fixture(scope="session")
def app(catalogue: DemoCatalogue, reader: Any, annotations: Annotations) -> Any:
    control = DemoCatalogue(60, seed=1)
    blind = Blind({"features": catalogue, "random_model": control}, Ratings(annotations.path.parent, "demo"))
    directions = np.random.default_rng(0).normal(size=(len(catalogue), 8))
    atlas = Atlas([Part("demo", catalogue, directions)], annotations.path.parent)
    return create_app(catalogue, reader, levels=demo_levels, annotations=annotations, blind=blind, atlas=atlas)


@pytest.fixture(scope="session")
def reader(catalogue: DemoCatalogue) -> Any:
    return demo_reader(catalogue)


@pytest.fixture(scope="session")
def client(app: Any) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8377")


@pytest.fixture(scope="session")
def address(app: Any) -> Iterator[str]:
    listener = free_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(5)
    listener.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    with Visit(browser, address, viewport={"width": 1280, "height": 800}) as found:
        yield found
        found.check()
