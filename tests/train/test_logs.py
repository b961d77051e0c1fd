"""Logs beside ``log.jsonl``: told of every step, refused by the extra's name, and imported only when asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType, SimpleNamespace

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
    whole = log.read_bytes()
    for spoilt in (b"\0" * 40 + b"\n", b"[1]\n", b"{}\n"):  # as power that fails may leave it
        log.write_bytes(whole[:200] + b"\n" + spoilt)
        run(tmp_path / "cut")
        kept = [json.loads(line)["tokens"] for line in log.read_text().splitlines()]
        assert kept == [*range(100, kept.index(600) * 100 + 1, 100), *range(600, 1001, 100)]
    (tmp_path / "cut" / checkpoint.NAME).unlink()
    run(tmp_path / "cut")  # anew
    assert log.read_text() == (tmp_path / "whole/log.jsonl").read_text()


@pytest.fixture
def service(monkeypatch):
    """In the place of wandb: runs by id, which hold what was committed and refuse a step that they have."""
    module = ModuleType("wandb")
    module.runs, module.asked = {}, []

    @contextmanager
    def init(*, id: str, **asked):
        there = module.runs.setdefault(id, {})
        module.asked.append(asked)

        def log(flat, *, step: int, commit: bool) -> None:
            assert commit and step > max(there, default=-1)
            there[step] = flat

        yield SimpleNamespace(log=log, starting_step=max(there, default=-1) + 1)

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(logs, "find_spec", lambda needs: True)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


@pytest.fixture
def boards(monkeypatch):
    """In the place of TensorBoard's: files of (tag, step), by folder, of which a reader purges as that does."""
    module = ModuleType("torch.utils.tensorboard")
    module.files = []

    class SummaryWriter:
        def __init__(self, folder: str, *, purge_step: int) -> None:
            self.folder, self.purge_step, self.waiting, self.flushed = folder, purge_step, [], []
            module.files.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            self.flush()

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            self.waiting.append((tag, step))

        def flush(self) -> None:
            self.flushed += self.waiting
            self.waiting.clear()

    def read(folder: Path) -> list[tuple[str, int]]:
        shown: list[tuple[str, int]] = []
        for file in module.files:
            if file.folder == str(folder / "tensorboard"):
                shown = [(tag, step) for tag, step in shown if step < file.purge_step] + file.flushed
        return shown

    module.SummaryWriter, module.read = SummaryWriter, read
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(logs, "find_spec", lambda needs: True)
    return module


def training(folder: Path, name: str, steps: Iterator[int] | range) -> None:
    """Tell a log of steps, as the loop does."""
    with logs.writers([name], folder) as (tell,), (folder / "log.jsonl").open("a") as log:
        for step in steps:
            terms = {"main": {"mse": 1 / step, "l0": 3.0}}
            log.write(json.dumps({"tokens": step, **terms}) + "\n")
            log.flush()
            tell(step, terms)


def test_wandb_continues_the_run_and_has_each_step_once(service, tmp_path, monkeypatch):
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run, other):
        folder.mkdir()
        (folder / "plan.json").write_text('{"k": 3}')
        training(folder, "wandb", range(100, 801, 100))
    told = service.runs[(run / "wandb/id").read_text()]
    assert (len(service.runs), [*told]) == (2, [*range(100, 801, 100)])  # folders are runs of their own
    del told[300], told[400], told[500], told[600], told[700], told[800]  # what never arrived
    run = run.rename(tmp_path / "renamed")
    log = run / "log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:5]))  # back to the checkpoint, as the loop does
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    training(run, "wandb", range(600, 1001, 100))
    told[900].clear()  # not to be told again
    training(run, "wandb", range(600, 1101, 100))
    assert (len(service.runs), [*told]) == (2, [*range(100, 1101, 100)])
    assert (told[500], told[900]) == ({"main/mse": 1 / 500, "main/l0": 3.0}, {})
    assert [(a["name"], a["project"], a["config"], a["resume"]) for a in service.asked[1:3]] == [
        ("other", "monoscope", {"k": 3}, "allow"),
        ("renamed", "mine", {"k": 3}, "allow"),
    ]


def test_tensorboard_shows_each_step_once_and_a_kill_loses_none(boards, tmp_path):
    def killed() -> Iterator[int]:
        yield from range(100, 801, 100)
        assert boards.read(tmp_path)[-1] == ("main/l0", 800)  # though nothing was closed
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path, "tensorboard", killed())
    training(tmp_path, "tensorboard", range(600, 1001, 100))
    training(tmp_path, "tensorboard", range(0))  # nothing was left to do: nothing is hidden
    assert boards.read(tmp_path) == [(tag, step) for step in range(100, 1001, 100) for tag in ("main/mse", "main/l0")]


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
