"""The doctor: what it sees is there, and every kind of damage to a run is named with what to do about it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from monoscope import folder
from monoscope.app import doctor
from monoscope.errors import MonoscopeError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run with a sealed folder in it and a database."""
    run = tmp_path / "run"
    part = run / "dictionary"
    part.mkdir(parents=True)
    (part / "weights.bin").write_bytes(bytes(range(256)) * 8)
    folder.write_json(part / "config.json", {"k": 32})
    folder.seal(part, "dictionary", {}, ["weights.bin", "config.json"])
    folder.write_json(run / "plan.json", {"seed": 0})
    with sqlite3.connect(run / "catalogue.sqlite") as database:
        database.execute("create table feature (id integer primary key, text)")
        database.executemany("insert into feature values (?, ?)", [(i, "x" * 50) for i in range(2000)])
    database.close()
    folder.seal(run, "run", {}, ["plan.json", "catalogue.sqlite", "dictionary/weights.bin"])
    return run


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_a_whole_run_has_no_problems(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.check_run(run) == []
    assert doctor.doctor(run) == 0
    assert "is whole" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "harm", "what"),
    [
        ("dictionary/weights.bin", flip, "hash differs"),
        ("dictionary/weights.bin", truncate, "is 2,047 bytes long, not 2,048"),
        ("dictionary/config.json", os.unlink, "is missing"),
        ("dictionary/manifest.json", truncate, "is damaged"),
        ("manifest.json", lambda path: path.write_text("{}"), "is damaged"),
        ("plan.json", lambda path: path.write_text("{"), "bytes long"),
        ("catalogue.sqlite", truncate, "bytes long"),
    ],
)
def test_damage_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, harm: Callable[[Path], None], what: str
) -> None:
    if name == "dictionary/manifest.json":
        harm = lambda path: path.write_text(path.read_text()[:-20])  # noqa: E731
    harm(run / name)
    problems = {p.where: p for p in doctor.check_run(run)}
    assert list(problems) == [name]
    assert what in problems[name].what and "again" in problems[name].fix
    assert problems[name].damage
    assert doctor.doctor(run) == 2
    printed = capsys.readouterr().out
    assert name in printed and "again" in printed


def test_a_database_is_looked_into_even_before_the_run_is_complete(run: Path) -> None:
    (run / "manifest.json").unlink()
    data = bytearray((run / "catalogue.sqlite").read_bytes())
    data[4096:12288] = os.urandom(8192)
    (run / "catalogue.sqlite").write_bytes(data)
    found = {p.where: p for p in doctor.check_run(run)}
    assert "is damaged" in found["catalogue.sqlite"].what and found["catalogue.sqlite"].damage


def test_a_run_without_a_manifest_is_named_and_not_always_taken_for_a_stopped_one(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "manifest.json").unlink()
    assert doctor.doctor(run) == 0
    said = "".join(capsys.readouterr().out.split())  # however it was wrapped
    assert f"{run}hasno{folder.MANIFEST}:itwasstopped,orisnotfromquickstart" in said
    assert "→ifitwasstopped,runthesamecommandagain" in said


def test_an_unfinished_run_is_no_damage(run: Path) -> None:
    (run / "manifest.json").unlink()
    (run / "dictionary" / "weights.bin.partial").write_bytes(b"half")
    problems = doctor.check_run(run)
    assert {p.where: p.damage for p in problems} == {".": False, "dictionary/weights.bin.partial": False}
    assert doctor.doctor(run) == 0


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match="there is no run"):
        doctor.check_run(tmp_path / "nowhere")
    with pytest.raises(MonoscopeError, match="is no run"):
        doctor.check_run(tmp_path)


def test_json_is_json_and_tells_the_truth(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(run / "dictionary" / "weights.bin")
    assert doctor.doctor(run, json=True) == 2
    told = json.loads(capsys.readouterr().out)
    assert [p["where"] for p in told["run"]["problems"]] == ["dictionary/weights.bin"]
    assert told["hardware"]["cores"] >= 1
    assert len(told["hardware"]["cuda"]) == torch.cuda.device_count()
    assert told["caches"]["temporary"]["writable"] is True
    if told["versions"]["monoscope"] is not None:
        assert told["versions"]["numpy"] == np.__version__
        assert "datasets" in told["extras"]["data"]


def test_without_a_run_it_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor() == 0
    assert "processor" in capsys.readouterr().out


def test_an_unwritable_cache_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert doctor.report()["caches"]["kernels"]["writable"] is False
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "not" / "yet" / "there"))
    assert doctor.report()["caches"]["kernels"]["writable"] is True
