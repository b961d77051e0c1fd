"""What torch was told elsewhere changes neither a training nor what is read from a file."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

import monoscope as ms
from monoscope.dictionary.base import architectures


@contextmanager
def default(dtype: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


TOLD = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": lambda: default(torch.float64),
    "bfloat16": lambda: default(torch.bfloat16),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("name", architectures())
def test_a_training_has_the_same_numbers(name):
    x = torch.randn(800, 8, generator=torch.Generator().manual_seed(0))
    numbers = {"n_features": 16, "architecture": name, "k": 2, "batch_size": 200, "show_progress": False}
    plain = ms.fit(x, **numbers)
    for told in TOLD.values():
        with told():
            made = ms.fit(x, **numbers)
        assert all(map(torch.equal, made.state_dict().values(), plain.state_dict().values()))
        assert not any(part.is_inference() for part in made.state_dict().values())


@pytest.mark.parametrize("told", TOLD)
def test_a_file_is_read_as_it_was_written(told, tmp_path):
    x = torch.randn(800, 8, generator=torch.Generator().manual_seed(0))
    plain = ms.fit(x, n_features=16, architecture="batch_topk", k=2, batch_size=200, show_progress=False)
    plain.save(tmp_path / "ours")
    plain.save(tmp_path / "theirs", format="saelens")
    with TOLD[told]():
        ours, theirs = ms.load(tmp_path / "ours"), ms.load(tmp_path / "theirs")
    for one in (ours, theirs):
        assert {part.dtype for part in one.state_dict().values()} == {torch.float32}
    assert all(map(torch.equal, ours.state_dict().values(), plain.state_dict().values()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_is_set_stays_set(dtype, tmp_path):
    x = torch.randn(800, 8, generator=torch.Generator().manual_seed(0))
    with default(dtype), torch.no_grad():
        made = ms.fit(x, n_features=16, k=2, batch_size=200, show_progress=False)
        assert torch.get_default_dtype() == dtype and not torch.is_grad_enabled()
        code = made.encode(x)
    assert torch.equal(code.values, made.encode(x).values)
