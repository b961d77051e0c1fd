"""Trainings that are terminated, or stopped at their very end: what is saved, what is gone on from, what is shown."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planted import data_of
from rich.console import Console
from safetensors import safe_open

from monoscope import progress
from monoscope.train import checkpoint
from monoscope.train.fit import Recipe
from monoscope.train.loop import Keeping, train

NEVER, ROWS = 1e9, 19_000  # seconds; 1,000 of 20,000 rows are held back
CHILD = """
import sys
from pathlib import Path

import numba
import torch

torch.set_num_threads(1)
numba.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_stopping import run

run(Path(sys.argv[1]), pause=0.2)
"""


def run(out: Path, *, kind="batch_topk", pause: float = 0.0, every: float = NEVER, report=progress.silent, **other):
    """Train 38 steps; ``other`` takes the place of what the data has."""
    data = data_of(hold_back=True)
    whole = data.batches

    def slowly(start: int):
        for pair in whole(start):
            time.sleep(pause)
            yield pair

    trainees = {"main": Recipe.of(kind, 64, k=4).trainee(data)}
    keeping = Keeping(out / "training", every_seconds=every, plan={"a": 1}, log=out / "log.jsonl")
    return train(replace(data, **{"batches": slowly, **other}), trainees, keeping=keeping, report=report)["main"]


def stopped(*_):
    raise KeyboardInterrupt


def saved(out: Path) -> int | None:
    """Rows seen, as of the checkpoint."""
    path = out / "training" / checkpoint.NAME
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        return int(json.loads(file.metadata()["facts"])["seen"])


def told(out: Path) -> list[int]:
    log = out / "log.jsonl"
    return [json.loads(line)["tokens"] for line in log.read_text().splitlines()] if log.exists() else []


def alike(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    made = run(out)
    assert saved(out) is None  # too short to be worth it
    return made, (out / "log.jsonl").read_text()


def test_a_terminated_training_saves_its_step_and_ends_as_if_never(tmp_path, undisturbed):
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while child.poll() is None and len(told(tmp_path)) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate(timeout=60)
    assert child.returncode != 0 and error.rstrip().endswith("KeyboardInterrupt"), error
    assert 1500 <= saved(tmp_path) < ROWS and saved(tmp_path) == told(tmp_path)[-1]
    made, log = undisturbed
    assert alike(run(tmp_path), made)
    assert (tmp_path / "log.jsonl").read_text() == log


def test_a_stop_during_calibration_loses_no_step(tmp_path, undisturbed):
    def short(start: int):
        yield from list(data_of(hold_back=True).batches(start))[:10]
        signal.raise_signal(signal.SIGTERM)
        yield from data_of(hold_back=True).batches(start + 5000)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batches=short)
    assert saved(tmp_path) == 5500
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, held_out=stopped)
    assert saved(tmp_path) == told(tmp_path)[-1] == ROWS
    assert alike(run(tmp_path, batches=stopped), undisturbed[0])  # no row is asked for


def test_what_calibrates_nothing_goes_on_from_its_last_step_too(tmp_path):
    made = run(tmp_path, kind="topk", every=0)
    assert saved(tmp_path) == ROWS  # stopped before the dictionary was kept
    assert alike(run(tmp_path, kind="topk", batches=stopped), made)


def test_the_first_checkpoint_is_of_the_last_step_where_much_would_be_lost(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "short", held_out=stopped)
    assert saved(tmp_path / "short") is None
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "long", pause=0.002, every=0.15, held_out=stopped)  # 0.08 seconds and more
    assert saved(tmp_path / "long") == ROWS


def test_a_signal_while_the_last_step_is_saved_is_not_lost(tmp_path, monkeypatch):
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *a: (save(*a), signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, pause=0.002, every=0.15)
    while saved(tmp_path) < ROWS:  # on a slow machine an earlier step was saved first
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)


def test_what_was_done_before_is_shown_and_is_not_speed(monkeypatch):
    now, shown = [100.0], io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=120, get_time=lambda: now[0])
    monkeypatch.setattr(progress, "console", terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.bar("training", 100_000) as report:
        report(50_000)
        for _ in range(4):
            now[0] += 2
            report(1000, "mse 0.5")
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).split("\n")[-2]
    assert "54%" in last and " 500 tokens/s mse 0.5 0:01:32" in " ".join(last.split()), last
