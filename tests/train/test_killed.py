"""Law 4, to the letter: trainings of every architecture in the folder, killed again and again, end as if never."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from monoscope.dictionary.base import architectures
from monoscope.train import checkpoint

KILLS = 6
CHILD = """
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from planted import data_of
from safetensors.torch import save_file

from monoscope.dictionary.base import architectures
from monoscope.train.fit import Recipe, known_options
from monoscope.train.loop import Keeping, train

out = Path(sys.argv[1])
told = {"sample": 4000, "dead_after": 600, "l0": 8.0, "resample_at": (0.4, 0.6), "dense_penalty": 1.0}
data = data_of(40_000, hold_back=True)
trainees = {name: Recipe.of(name, 64, **known_options(name, told)).trainee(data) for name in architectures()}
keeping = Keeping(out / "training", every_seconds=0, plan={"all": 1}, log=out / "log.jsonl")
made = train(data, trainees, keeping=keeping)
tensors = {f"{name}.{part}": t.contiguous() for name, d in made.items() for part, t in d.state_dict().items()}
save_file(tensors, out / "made")
"""


def start(out: Path) -> subprocess.Popen[str]:
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", CHILD, str(out), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> None:
    _, told = child.communicate(timeout=300)
    assert child.returncode == 0, told


def seen(out: Path) -> int:
    """Tokens done, as of the checkpoint; 0 before there is one."""
    path = out / "training" / checkpoint.NAME
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        return int(json.loads(file.metadata()["facts"])["seen"])


def until_more(child: subprocess.Popen[str], out: Path, before: int) -> None:
    """Wait until it has come further, or ended."""
    end = time.monotonic() + 120
    while child.poll() is None and seen(out) <= before:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_training_of_every_architecture_survives_kill_9_at_any_moment(tmp_path):
    finish(start(tmp_path / "undisturbed"))
    chance, saved = random.Random(0), [0]
    for _ in range(KILLS):
        child = start(tmp_path / "killed")
        until_more(child, tmp_path / "killed", saved[-1])
        time.sleep(chance.random() / 2)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL  # it was still at it
        saved.append(seen(tmp_path / "killed"))
    assert sorted({*saved}) == saved  # each went on from where the one before had come
    finish(start(tmp_path / "killed"))
    one, two = (load_file(tmp_path / name / "made") for name in ("undisturbed", "killed"))
    assert one.keys() == two.keys() and {key.partition(".")[0] for key in one} == {*architectures()}
    for key in one:
        assert torch.equal(one[key], two[key]), key
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("undisturbed", "killed")]
    assert logs[0] == logs[1]  # every step once
