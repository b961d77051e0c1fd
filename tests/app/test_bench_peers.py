"""Training with another library: the loop and the judge that all of them share, and briefly the real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from monoscope.app.bench import contenders, data, process
from monoscope.app.bench.peers.contender import kept, run
from monoscope.app.bench.peers.contender.judged import judged
from monoscope.app.bench.peers.contender.kept import Kept, Progress
from monoscope.app.bench.peers.contender.trainer import Contender

PEERS = os.environ.get("MONOSCOPE_PEERS")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    data.make_up(16, 6000, path)
    return path


def test_the_judge_agrees_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32) + 2
    made = torch.from_numpy(x) * 0.5
    code = torch.zeros(50, 4)
    code[:, 0], code[:10, 2] = 1, 1
    at = 0

    def infer(part: torch.Tensor):
        nonlocal at
        at += len(part)
        return made[at - len(part) : at], code[at - len(part) : at].nonzero()[:, 1]

    seen = judged(infer, x, 4, rows=16)
    expected = ((x * 0.5) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert seen == {"fvu": pytest.approx(expected, rel=1e-5), "l0": 1.2, "dead": 0.5}
    assert judged(lambda part: (part / 0, torch.zeros(0)), x, 4)["fvu"] is None


def test_a_coefficient_is_led_to_the_wanted_l0() -> None:
    """A trainer whose L0 falls as its coefficient rises ends at the L0 that is wanted."""
    state = {"c": 1.0, "l0": 100.0}

    def step(batch: torch.Tensor) -> None:
        state["l0"] += 0.3 * (100 / (1 + state["c"]) - state["l0"])

    def lead(ratio: float) -> None:
        state["c"] *= ratio

    def code(batch: torch.Tensor) -> torch.Tensor:
        return (torch.arange(200) < state["l0"]).expand(len(batch), -1)

    made = Contender(step, code, lambda: (None, ""), lead=lead)
    setting = {"steps": 120, "k": 10, "windows": {}, "batch": 4, "seed": 0}
    found = run.train(made, np.zeros((8, 1)), setting, Kept(None, {}))
    assert found.l0s[-1] == pytest.approx(10, abs=2)


class Library:
    """A trainer as peers have them: modules and optimisers, tensors and numbers, and chance."""

    def __init__(self, stop_at: int = -1) -> None:
        torch.manual_seed(0)
        self.ae, self.count, self.penalty, self.stop_at = torch.nn.Linear(3, 3), 0, 1.0, stop_at
        self.optimizer = torch.optim.Adam(self.ae.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda i: 1 / (1 + i))
        self.since = torch.zeros(3, dtype=torch.long)

    def step(self, batch: torch.Tensor) -> None:
        if self.count == self.stop_at:
            signal.raise_signal(signal.SIGTERM)  # in the middle of a step
        self.optimizer.zero_grad()
        self.loss = self.penalty * (self.ae(batch + torch.randn_like(batch)) - batch).square().mean()
        self.loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.since += 1
        self.count += 1

    def lead(self, ratio: float) -> None:
        self.penalty *= ratio

    def contender(self) -> Contender:
        return Contender(self.step, self.ae, lambda: (None, ""), lead=self.lead, parts=(self,))


def test_a_peers_training_goes_on_exactly_after_a_signal(tmp_path: Path, capsys) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 3))
    setting = {"steps": 12, "k": 2, "windows": {}, "batch": 6, "seed": 1}
    path, facts, other = str(tmp_path / "a.under-way"), {"contender": "a"}, {"contender": "b"}

    def train(made: Library, file: Kept) -> Progress:
        return run.train(made.contender(), rows, setting, file)

    straight = Library()
    whole = train(straight, Kept(None, facts))
    parted = Library(stop_at=7)
    with pytest.raises(SystemExit):
        train(parted, Kept(path, facts))
    assert parted.count == 8 and "goes on from there" in capsys.readouterr().out

    with pytest.raises(SystemExit):
        train(Library(), Kept(path, other))
    assert "is of {'contender': 'a'}" in capsys.readouterr().out

    second, file = Library(), Kept(path, facts)
    found = train(second, file)
    assert found.steps == len(found.spent) == 12 and found.l0s == whole.l0s and found.led == whole.led
    assert len(capsys.readouterr().out.splitlines()) == 12  # steps are counted from the first
    for name, tensor in straight.ae.state_dict().items():
        assert torch.equal(tensor, second.ae.state_dict()[name])
    assert second.penalty == straight.penalty and torch.equal(second.since, straight.since)
    assert second.scheduler.get_last_lr() == straight.scheduler.get_last_lr()

    Path(path).write_bytes(b"half a file")
    with pytest.raises(SystemExit):
        train(Library(), file)
    assert "cannot be read" in capsys.readouterr().out


def test_a_peers_training_is_written_as_time_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, file = Library(), Kept(str(tmp_path / "a"), {})
    file.write(made.contender(), Progress(1))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(kept, "KEEP_EVERY", -1.0)
    file.write(made.contender(), Progress(2))
    assert file.begin(made.contender()).steps == 2


# --- the real ones ---------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.skipif(not PEERS, reason="MONOSCOPE_PEERS names no Python that has the peers")
@pytest.mark.parametrize("name", sorted({p for row in contenders.PEERS.values() for p in row}))
def test_a_real_peer_trains_and_is_judged(name: str, rows: Path) -> None:
    setting = {
        "features": 64, "k": 4, "batch": 128, "steps": 60, "rate": 3e-3, "seed": 0, "autocast": False, "threads": 1,
        "dead": 0.25, "rows": 5000, "held_out": 1000, "windows": {"start": [2, 10], "late": [50, 60]},
    }  # fmt: skip
    found = process.contend(name, rows, setting, Path(str(PEERS)))
    assert found["finite"] and found["windows"]["late"]["median"] > 0 and found["dead"] >= 0.2
    assert 0 < found["fvu"] < 1.5 and 0 < found["l0"] < 64
    if name.endswith(":topk"):
        assert found["l0"] <= 4 and found["fvu"] < 0.9
    if name.endswith(":batch_topk"):
        assert found["by_selection"]["l0"] <= 4


@pytest.mark.peers
@pytest.mark.skipif(not PEERS, reason="MONOSCOPE_PEERS names no Python that has the peers")
@pytest.mark.parametrize("name", sorted({p for row in contenders.PEERS.values() for p in row}))
def test_a_real_peer_goes_on_exactly_after_a_signal(name: str, rows: Path, tmp_path: Path) -> None:
    setting = {
        "features": 64, "k": 4, "batch": 128, "steps": 60, "rate": 3e-3, "seed": 0, "autocast": False, "threads": 1,
        "dead": 0.25, "rows": 5000, "held_out": 1000, "windows": {},
    }  # fmt: skip
    straight = process.contend(name, rows, setting, Path(str(PEERS)))
    path = tmp_path / "a.under-way"
    command = process.theirs(Path(str(PEERS)), name, str(rows), json.dumps(setting | {"kept": str(path)}))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=process.environment(1)) as begun:
        steps = (line for line in begun.stdout if '"step": 20,' in line)
        next(steps)
        begun.terminate()
        assert "goes on from there" in begun.stdout.read() and path.is_file()
    gone_on = process.contend(name, rows, setting | {"kept": str(path)}, Path(str(PEERS)))
    for part in ("fvu", "l0", "dead"):
        assert gone_on[part] == straight[part]
