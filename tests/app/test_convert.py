"""The verb that converts dictionaries between formats."""

from __future__ import annotations

import pytest
import torch

from monoscope.app import cli
from monoscope.dictionary import io
from monoscope.dictionary.base import architecture


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


def test_there_and_back(tmp_path, capsys):
    made = architecture("topk")(4, 9, k=2)
    torch.nn.init.normal_(made.w_enc, generator=torch.Generator().manual_seed(0))
    made.save(tmp_path / "a")
    assert call("convert", tmp_path / "a", tmp_path / "b", "--format", "saelens") == 0
    assert "topk, 9 features from 4 to 4 numbers" in capsys.readouterr().out
    assert call("convert", tmp_path / "b", tmp_path / "c") == 0
    assert torch.equal(io.load(tmp_path / "c").w_enc, made.w_enc)


def test_what_cannot_be_written_is_said(tmp_path, capsys):
    architecture("topk")(4, 9, k=2).save(tmp_path / "a")
    assert call("convert", tmp_path / "a", tmp_path / "c", "--format", "openai") == 2
    assert "can only be read" in capsys.readouterr().err
    assert call("convert", tmp_path / "a", tmp_path / "c", "--format", "sae_lens") == 2
    assert "did you mean 'saelens'" in capsys.readouterr().err
