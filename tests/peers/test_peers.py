"""The peers' own code and ours compute the same, from their files and from ours.

Needs a Python with sae-lens, dictionary-learning, eai-sparsify and llamascopium, which is no part of the tests'
environment: ``make test-peers`` makes one, ``MONOSCOPE_PEERS=/path/to/python`` names one.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from monoscope import model_names
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture

PYTHON = os.environ.get("MONOSCOPE_PEERS")
D, F, K = 12, 40, 4
OfPeer = Callable[[str], Path]

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON, reason="MONOSCOPE_PEERS names no Python that has the peers"),
]

THEIRS = [
    *(
        ("saelens", kind)
        for kind in (
            "standard", "topk", "topk_by_norm", "jumprelu", "gated", "matching_pursuit", "transcoder",
            "jumprelu_transcoder", "skip_transcoder", "jumprelu_skip_transcoder", "batchtopk", "matryoshka_batchtopk",
            "standard layer_norm", "topk layer_norm", "topk_by_norm layer_norm", "jumprelu layer_norm",
            "gated layer_norm", "matching_pursuit layer_norm",
        )
    ),
    *(
        ("dictionary_learning", kind)
        for kind in (
            "AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE",
            "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder",
        )
    ),
    *(("sparsify", kind) for kind in ("topk", "transcoder", "skip", "skip_transcoder")),
    *(("llamascopium", kind) for kind in ("relu", "topk", "jumprelu", "jumprelu inference")),
]  # fmt: skip
OURS = [
    ("saelens", "topk", D), ("saelens", "batch_topk", D), ("saelens", "l1_2023", D), ("saelens", "l1_2023", 7),
    ("saelens", "batch_topk", 7), ("dictionary_learning", "topk", D), ("dictionary_learning", "batch_topk", D),
    ("dictionary_learning", "l1_2023", D), ("sparsify", "topk", D), ("saelens", "gated", D),
    ("saelens", "matching_pursuit", D), ("saelens", "jumprelu", D), ("dictionary_learning", "gated", D),
    ("dictionary_learning", "jumprelu", D), ("saelens", "l1_2023 skip", D), ("saelens", "l1_2023 skip", 7),
    ("saelens", "batch_topk skip", 7), ("saelens", "jumprelu skip", D), ("saelens", "gated skip", 7),
    ("sparsify", "topk skip", D), ("saelens", "topk row_norm", D), ("saelens", "l1_2023 row_norm", D),
    ("saelens", "batch_topk row_norm", D), ("saelens", "matching_pursuit row_norm", D),
]  # fmt: skip


def peer(action: str, name: str, jobs: Sequence[tuple[str, Path]] = ()) -> None:
    script = Path(__file__).with_name("peer.py")
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", script, action, name, *(part for job in jobs for part in job)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "WANDB_MODE": "disabled"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


def read(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(np.load(folder / f"{name}.npy"))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> OfPeer:
    """Of a peer, the folder of dictionaries that it made. A peer that is not there fails its own tests only."""
    root = tmp_path_factory.mktemp("theirs")

    @cache
    def of(name: str) -> Path:
        peer("make", name, [(kind, root / name / kind) for who, kind in THEIRS if who == name])
        return root / name

    return of


@pytest.fixture(scope="session")
def ran(made: OfPeer, tmp_path_factory: pytest.TempPathFactory) -> OfPeer:
    """Of a peer, the folder of dictionaries that we wrote, its own and ours, with what it makes of rows."""
    root = tmp_path_factory.mktemp("ours")

    @cache
    def of(name: str) -> Path:
        jobs = [(kind, root / name / kind) for who, kind in THEIRS if who == name]
        for kind, folder in jobs:
            io.load(made(name) / kind).save(folder, format=name)
            np.save(folder / "rows.npy", read(made(name) / kind, "rows").numpy())
        for who, kind, d_out in OURS:
            if who == name:
                folder = root / name / f"{kind}-{d_out}"
                ours(kind, d_out).save(folder, format=name)
                np.save(folder / "rows.npy", rows().numpy())
                jobs.append((kind, folder))
        peer("run", name, jobs)
        return root / name

    return of


def rows() -> torch.Tensor:
    return torch.randn(300, D, generator=torch.Generator().manual_seed(1)) * 2


def ours(kind: str, d_out: int) -> Dictionary:
    name, _, always = kind.partition(" ")
    settings = {"k": K} if "k" in architecture(name).settings else {}
    settings |= {always: True} if always else {}
    made = architecture(name)(D, F, d_out, **settings).requires_grad_(False)
    generator = torch.Generator().manual_seed(5)
    for tensor in made.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 3)
    for buffer in made.buffers():
        buffer.abs_()
    if name == "matching_pursuit":
        made.w_dec.div_(made.w_dec.norm(dim=1, keepdim=True))
    made.provenance = {"model": "gpt2", "site": "resid_post.1"}
    return made


@pytest.mark.parametrize("case", THEIRS, ids=" ".join)
def test_we_read_what_they_save(case: tuple[str, str], made: OfPeer) -> None:
    folder = made(case[0]) / case[1]
    found = io.load(folder)
    assert "unread" not in found.provenance
    torch.testing.assert_close(found(read(folder, "rows")), read(folder, "out"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in THEIRS if c[0] in io.writable()], ids=" ".join)
def test_they_read_what_we_saved_of_theirs(case: tuple[str, str], made: OfPeer, ran: OfPeer) -> None:
    name, kind = case
    torch.testing.assert_close(read(ran(name) / kind, "out"), read(made(name) / kind, "out"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "kind", "d_out"), OURS)
def test_they_read_ours(name: str, kind: str, d_out: int, ran: OfPeer) -> None:
    wanted = ours(kind, d_out)(rows())
    torch.testing.assert_close(read(ran(name) / f"{kind}-{d_out}", "out"), wanted, rtol=1e-4, atol=1e-5)


def test_models_mean_what_they_mean_to_transformer_lens(tmp_path: Path) -> None:
    peer("names", str(tmp_path / "names.json"))
    theirs = {name.lower(): meant for name, meant in json.loads((tmp_path / "names.json").read_text()).items()}
    both = {name: meant for name, meant in model_names.NAMES.items() if name.lower() in theirs}
    assert both == {name: theirs[name.lower()] for name in both} and len(both) > 100
