"""Logs beside ``log.jsonl``: told of every step, refused by the extra's name, and imported only when asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from types import ModuleType

import pytest
import torch

from monoscope.errors import MonoscopeError
from monoscope.train import checkpoint, logs, rows
from monoscope.train.fit import Recipe
from monoscope.train.loop import Keeping, train


@pytest.fixture
def theirs(monkeypatch):
    """A third party's log, which keeps what it is told."""
    module = ModuleType("theirs.log")
    module.NEEDS, module.told, module.closed = "json", [], []

    @contextmanager
    def writer(folder):
        yield lambda tokens, terms: module.told.append((tokens, dict(terms)))
        module.closed.append(folder)

    module.writer = writer
    monkeypatch.setitem(sys.modules, "theirs", ModuleType("theirs"))
    monkeypatch.setitem(sys.modules, "theirs.log", module)
    return module


def test_a_log_is_told_of_every_step(theirs, tmp_path):
    x = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    data = rows.from_arrays(x, None, 100, None, 0, hold_back=False)
    trainees = {"main": Recipe.of("topk", 8, k=2).trainee(data), "other": Recipe.of("topk", 8, k=3).trainee(data)}
    with logs.writers(["theirs.log"], tmp_path) as told:
        train(data, trainees, logs=told)
    assert [tokens for tokens, _ in theirs.told] == list(range(100, 1001, 100))
    assert all(terms.keys() == {"main", "other"} and terms["main"]["mse"] > 0 for _, terms in theirs.told)
    assert theirs.closed == [tmp_path]


def test_the_log_holds_each_step_once_though_some_came_after_the_checkpoint(tmp_path, monkeypatch):
    x = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a: save(*a) if a[2]["seen"] == 500 else None)

    def run(folder, stop_after: int | None = None):
        data = rows.from_arrays(x, None, 100, None, 0, hold_back=False)
        keeping = Keeping(folder, every_seconds=0, log=folder / "log.jsonl")

        def limited(start):
            yield from islice(data.batches(start), stop_after)
            if stop_after is not None:
                raise KeyboardInterrupt

        return train(replace(data, batches=limited), {"main": Recipe.of("topk", 8, k=2).trainee(data)}, keeping=keeping)

    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 8)
    log = tmp_path / "cut/log.jsonl"
    assert len(log.read_text().splitlines()) == 8
    with log.open("a") as file:
        file.write('{"tokens": 9')  # as a kill may leave it
    run(tmp_path / "cut")
    assert log.read_text() == (tmp_path / "whole/log.jsonl").read_text()
    assert [json.loads(line)["tokens"] for line in log.read_text().splitlines()] == list(range(100, 1001, 100))
    (tmp_path / "cut" / checkpoint.NAME).unlink()
    run(tmp_path / "cut")  # anew
    assert log.read_text() == (tmp_path / "whole/log.jsonl").read_text()


@pytest.mark.parametrize("name", logs.names())
def test_what_is_not_installed_is_named_with_its_extra(name, monkeypatch):
    monkeypatch.setattr(logs, "find_spec", lambda needs: None)
    with pytest.raises(MonoscopeError, match=rf'pip install "monoscope\[{name}\]"'):
        logs.check([name])


@pytest.mark.parametrize("name", logs.names())
def test_what_is_installed_writes(name, tmp_path, monkeypatch):
    """With the library itself, where this machine has it."""
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with logs.writers([name], tmp_path) as (tell,):
        for step in range(3):
            tell(100 * step, {"main": {"mse": 0.5, "l0": 3.0}})
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size > 0]


def test_an_unknown_log_gets_the_nearest():
    with pytest.raises(MonoscopeError, match="did you mean 'tensorboard'"):
        logs.check(["tensorbord"])


def test_listing_what_there_is_imports_none_of_it():
    code = (
        "import sys; from monoscope.app.verbs import train; "
        "print([m for m in ('torch', 'wandb', 'tensorboard') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
