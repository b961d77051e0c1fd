"""``monoscope bench``: at toy size, with a stand-in for the other libraries' Python, and briefly with the real one."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from monoscope.app import cli
from monoscope.app.bench import contenders, data, limit, memory, ours, process, quality, resident, sizes, speed, tables
from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError

SMALL = ["--batch", "64", "--k", "4"]
FAKE = """#!{python}
import json, sys
log, has = {log!r}, {has!r}
with open(log, "a") as file:
    file.write(json.dumps(sys.argv[5:]) + "\\n")
if sys.argv[5] == "check":
    print(json.dumps({{"result": has}}))
    sys.exit()
name, setting = sys.argv[5], json.loads(sys.argv[7])
print("a library says something, and [1, 2]")
print("[1, 2]")
print(json.dumps({{"step": 1, "of": 1}}))
if name == "sparsify:topk" and setting["autocast"]:
    sys.exit("no such precision")
windows = {{w: {{"median": 0.25 if setting["autocast"] else 0.5, "l0": 4.0}} for w in setting["windows"]}}
found = {{"windows": windows, "seconds": 2.0, "elapsed": 3.0, "finite": name != "dictionary_learning:p_anneal"}}
if setting["held_out"]:
    fvu = None if setting["rate"] == 0.1 else 0.5 - setting["rate"] + setting["seed"] / 100
    found |= {{"fvu": fvu, "l0": 4.0, "dead": 0.25, "remark": ""}}
print(json.dumps({{"result": found}}))
"""
ALL = {"torch": "2", "saelens": "6", "dictionary_learning": "0.1", "sparsify": "1"}


class Fake:
    """A program that stands in for the peers' Python, and what it was asked."""

    def __init__(self, folder: Path, has: dict[str, str | None]) -> None:
        self.path, self.log = folder / "python", folder / "asked.jsonl"
        self.path.write_text(FAKE.format(python=sys.executable, log=str(self.log), has=has))
        self.path.chmod(self.path.stat().st_mode | stat.S_IEXEC)

    @property
    def asked(self) -> list[list[str]]:
        return [a for line in self.log.read_text().splitlines() if (a := json.loads(line)) != ["check"]]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path, ALL)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    data.make_up(16, 6000, path)
    return path


def call(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(a) for a in arguments])
    assert exit_.value.code == code


def result(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


# --- what is asked for -----------------------------------------------------------------------------------------------


def test_every_peer_is_compared_with_an_architecture_and_known_by_its_package() -> None:
    assert set(contenders.PEERS) <= set(contenders.chosen("all"))
    assert {p.partition(":")[0] for row in contenders.PEERS.values() for p in row} == set(process.PACKAGES)


def test_who_is_named_twice_runs_once_and_each_recipe_is_beside_its_own() -> None:
    assert contenders.contenders(["l1", "l1_2023", "l1"], peers=True, only="monoscope,dictionary_learning") == [
        "monoscope:l1",
        "dictionary_learning:standard_april",
        "monoscope:l1_2023",
        "dictionary_learning:standard",
    ]
    assert contenders.contenders(["l1"], peers=False) == ["monoscope:l1"]
    assert contenders.contenders(["topk"], peers=True, only="saelens,monoscope:topk") == [
        "monoscope:topk",
        "saelens:topk",
    ]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda: contenders.chosen("topq"), "did you mean 'topk'"),
        (lambda: contenders.contenders(["topk"], peers=False, only="saelens"), "need --peers"),
        (lambda: sizes.parse("512"), "WIDTHxFEATURES"),
        (lambda: sizes.parse("512x0"), "no size"),
        (lambda: quality.numbers("fast"), "no learning rates"),
        (lambda: speed.Trial(["monoscope:topk"], rounds=0), "rounds is 0"),
        (lambda: speed.Trial(["monoscope:topk"], dead=1.0), "from 0 to below 1"),
        (lambda: memory.Trial(["topk"], steps=0), "at least 1"),
        (lambda: quality.Trial([], Path("x.npy"), 1000, [1e-3], batch=64), "fewer than 40 batches"),
        (lambda: quality.Trial([], Path("x.npy"), 10**6, [-1.0]), "above 0"),
        (lambda: data.opened(Path("/nowhere.npy")), "name a .npy file"),
    ],
)
def test_what_cannot_be_measured_is_refused(wrong, what: str) -> None:
    with pytest.raises(MonoscopeError, match=what):
        wrong()


def test_rows_come_from_a_file_or_a_model(tmp_path: Path) -> None:
    for arguments in [(None, None, "mlp_act.0", None), (tmp_path / "x.npy", "m", "s", "t"), (None, "m", None, None)]:
        with pytest.raises(MonoscopeError, match=r"--model"), data.given(*arguments, 100):
            pass
    np.save(tmp_path / "flat.npy", np.zeros(5))
    with pytest.raises(MonoscopeError, match="rows, width"), data.given(tmp_path / "flat.npy", None, None, None, 100):
        pass


def test_a_python_without_the_libraries_is_told_what_to_install(tmp_path: Path, capsys, rows: Path) -> None:
    poor = Fake(tmp_path, {"torch": "2", "saelens": None, "sparsify": "1"})
    call("bench", "train", "--sizes", "16x64", "--peers", poor.path, "--architectures", "topk", code=2)
    told = " ".join(capsys.readouterr().err.split())
    assert "lacks dictionary-learning, sae-lens" in told and f"{poor.path} -m pip install" in told
    call("bench", "quality", "--rows", rows, "--peers", tmp_path / "nothing", code=2)
    assert "cannot be used" in " ".join(capsys.readouterr().err.split())
    assert process.versions(poor.path, ["monoscope:topk", "sparsify:topk"]) == {"torch": "2", "sparsify": "1"}


# --- processes -------------------------------------------------------------------------------------------------------


def test_everyone_has_the_environment_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv(process.SET_BY_IMPORT, "500")
    monkeypatch.setattr(process, "started_with", lambda: {"PATH"})
    assert process.environment(0)["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert process.SET_BY_IMPORT not in process.environment(0)
    monkeypatch.setattr(process, "started_with", lambda: {process.SET_BY_IMPORT})
    assert process.environment(3) == {**os.environ, **dict.fromkeys(process.THREADS, "3")}
    code = "import json, os; print(json.dumps({'result': dict(os.environ)}))"
    assert process.run([sys.executable, "-c", code])["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_a_run_without_a_result_has_failed() -> None:
    with pytest.raises(process.Failed, match="out of luck"):
        process.run([sys.executable, "-c", "import sys; sys.exit('out of luck')"])
    with pytest.raises(process.Failed, match="no result"):
        process.run([sys.executable, "-c", "print(3)"])


def test_what_ours_refuses_is_the_users_error(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("bench", "train", "--sizes", "16x8", "--k", "9", "--batch", "64", "--architectures", "topk", code=2)
    assert "k = 9 with 8 features" in capsys.readouterr().err
    call("bench", "train", "--sizes", "16x64", "--batch", "10000", "--rows", rows, code=2)
    assert "do not fill a batch" in capsys.readouterr().err
    call("bench", "quality", "--rows", rows, "--batch", "4096", code=2)
    assert "do not fill a batch" in capsys.readouterr().err


# --- speed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocking", [("rows", 100), ("rows", 32), ("features", 24), ("features", 70)])
def test_the_bare_product_makes_every_score(blocking, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(100, 8), torch.randn(70, 8)
    made: list[torch.Tensor] = []
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, out: made.append(mm(a, b, out=out).clone()))
    limit.product(x, weight, torch.float32, blocking)()
    axis = 0 if blocking[0] == "rows" else 1
    torch.testing.assert_close(torch.cat(made, axis), x @ weight.T)


def test_blockings_begin_with_the_whole() -> None:
    assert list(limit.blockings(600, 130)) == [("rows", 600), ("rows", 128), ("rows", 512), ("features", 128)]


@pytest.mark.slow
def test_speed_beside_peers(fake: Fake, rows: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "found.json"
    call(
        "bench", "train", "--sizes", "16x64", "--architectures", "topk,p_anneal", *SMALL, "--steps", "8", "--json",
        "--rounds", "2", "--peers", fake.path, "--rows", rows, "--threads", "1", "--dead", "0.25", "--out", out,
    )  # fmt: skip
    printed = result(capsys)
    assert printed == json.loads(out.read_text())
    assert str(tmp_path) not in out.read_text()
    assert printed["machine"]["threads"] == 1 and printed["machine"]["peers"] == ALL
    (found,) = printed["found"]
    assert found["size"] == "16x64" and found["rows"] == "rows.npy"
    assert found["limit"]["rows_per_second"] > 0 and found["limit"]["blocking"][0] in ("rows", "features")
    mine = found["contenders"]["monoscope:topk"]["ways"]["fp32"]["all"]
    assert mine["low"] <= mine["rows_per_second"] <= mine["high"] and len(mine["rounds"]) == 2
    assert mine["l0"] == 4.0 and 0 < mine["of_limit"] < 1
    late = found["contenders"]["monoscope:p_anneal"]["ways"]["fp32"]
    assert set(late) == {"start", "late"}

    peer = found["contenders"]["saelens:topk"]
    assert peer["way"] == "autocast" and peer["ways"]["autocast"]["all"]["rows_per_second"] == 64 / 0.25
    assert len(peer["ways"]["autocast"]["all"]["rounds"]) == 2 and len(peer["ways"]["fp32"]["all"]["rounds"]) == 1
    assert found["times_as_fast"]["topk"]["saelens:topk"]["all"] == pytest.approx(mine["rows_per_second"] / 256)
    broken = found["contenders"]["sparsify:topk"]
    assert broken["way"] == "fp32" and "no such precision" in broken["ways"]["autocast"]["failed"]
    assert found["contenders"]["dictionary_learning:p_anneal"]["way"] is None  # its weights were not finite

    settings = [json.loads(a[2]) for a in fake.asked]
    assert {s["dead"] for s in settings} == {0.25} and all(a[1] == str(rows) for a in fake.asked)
    assert {s["threads"] for s in settings} == {1}

    console = Console(file=io.StringIO(), width=80)
    tables.print_header(printed["machine"], console)
    tables.print_speed(found, printed["setting"], console)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    for words in ("sparsify 1", str(rows.name), "alone", "autocast", "no such precision", "late", "is led", "×", "25%"):
        assert words in said, words


def test_every_architecture_has_a_line_of_its_own_in_80_columns() -> None:
    """With the longest numbers: names are not broken."""
    span = {"mean": 0.12345, "low": 0.12345, "high": 0.12345}
    same = {"which": "default", "rate": None, "seeds": 3, "fvu": span, "l0": {"mean": 32.1}, "dead": span}
    names = [f"monoscope:{name}" for name in architectures()]
    lines = [{**same, "contender": name, "elapsed": {"mean": 9_999}} for name in names]
    setting = {"features": 3072, "k": 32, "batch": 4096, "tokens": 819_200, "rows": "rows.npy", "held_out": 32_768}
    console = Console(file=io.StringIO(), width=80)
    tables.print_quality({"contenders": lines}, setting, console)
    said = console.file.getvalue().splitlines()
    assert max(map(len, said)) <= 80
    for name in names:
        assert any(line.startswith(f"{name} ") and line.endswith("12%  9,999") for line in said), name


def test_dead_features_stay_dead_and_auxk_is_at_work(rows: Path) -> None:
    from monoscope.train import rows as training_rows

    x = np.load(rows)
    setting = {"features": 64, "k": 4, "seed": 0}
    made = ours.recipe("topk", setting, dead_after=10**7)
    held = training_rows.from_arrays(x, None, 64, 640, 0, hold_back=False)
    trainee = made.trainee(held)
    ours.bury(trainee, 0.25)
    terms = trainee.step(held.sample[0][:64], held.sample[0][:64], 0, 640)
    assert terms["auxk"] > 0
    code = trainee.dictionary.encode(held.sample[0][:64])
    assert int(code.indices.min()) >= 16
    without = made.trainee(held)
    assert without.step(held.sample[0][:64], held.sample[0][:64], 0, 640)["auxk"] == 0


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_can_be_timed_and_has_dead_features_or_refuses(name: str, rows: Path, capsys) -> None:
    setting = {
        "features": 64, "k": 4, "batch": 64, "steps": 3, "seed": 0, "dead": 0.0,
        "windows": {"all": [0, 3]}, "blocking": next(limit.blockings(64, 64)),
    }  # fmt: skip
    x = np.load(rows)
    found = ours.speed(name, x, setting)
    assert found["finite"] and found["product"] > 0 and found["windows"]["all"]["median"] > 0
    if architecture(name).own_encoder:
        assert ours.speed(name, x, setting | {"dead": 0.25})["finite"]
    else:
        with pytest.raises(MonoscopeError, match="no encoder"):
            ours.speed(name, x, setting | {"dead": 0.25})


# --- quality ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_quality_goes_on_where_it_stopped(fake: Fake, rows: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "found.jsonl"
    base = ["bench", "quality", "--rows", rows, "--peers", fake.path, *SMALL, "--features", "64"]
    base += ["--architectures", "topk", "--out", out, "--threads", "1", "--json"]
    sweep = ["--rates", "1e-3,1e-2,0.1", "--seeds", "2"]
    tokens = ["--tokens", "2560"]
    call(*base, *tokens, *sweep, "--only", "saelens:topk")
    (line,) = result(capsys)["found"][0]["contenders"]
    assert line["rate"] == 0.01 and not line["at_edge"] and line["seeds"] == 2
    assert line["fvu"] == {"mean": pytest.approx(0.495), "low": pytest.approx(0.49), "high": pytest.approx(0.5)}
    assert line["sweep"] == {"0.001": pytest.approx(0.499), "0.01": pytest.approx(0.49), "0.1": None}
    trained = [(json.loads(a[2])["rate"], json.loads(a[2])["seed"]) for a in fake.asked]
    assert len({json.loads(a[2])["kept"] for a in fake.asked}) == 4
    assert trained == [(0.001, 0), (0.01, 0), (0.1, 0), (0.01, 1)]

    with out.open("a") as file:
        file.write('{"contender": "saelens:to')  # as after a power cut
    more = ["--rates", "1e-2,0.02", "--seeds", "1", "--only", "saelens:topk,monoscope"]
    call(*base, *tokens, *more)
    lines = {(c["contender"], c["which"]): c for c in result(capsys)["found"][0]["contenders"]}
    assert len(fake.asked) == 5 and json.loads(fake.asked[-1][2])["rate"] == 0.02
    mine = lines["monoscope:topk", "default"]
    assert mine["rate"] is None and 0 < mine["fvu"]["mean"] < 1 and mine["l0"]["mean"] == pytest.approx(4, abs=0.1)
    assert lines["monoscope:topk", "best of the sweep"]["rate"] in (1e-2, 0.02)

    before = out.read_bytes()
    call(*base[:-1], *tokens, *more)
    assert out.read_bytes() == before and len(fake.asked) == 5
    said = capsys.readouterr().out
    assert "default" in said and "FVU" in said and "0.4800" in said
    call(*base, "--tokens", "2624", *more[:-1], "saelens:topk")  # another trial: trained anew
    assert len(fake.asked) == 7


def test_a_training_under_way_is_let_go_of_when_its_line_is_written(tmp_path: Path) -> None:
    records = quality.Records(tmp_path / "found.jsonl", {"tokens": 1})
    one, other = ("saelens:topk", 1e-3, 0), ("saelens:topk", 1e-3, 1)
    for key in (one, other):
        records.under_way(key).write_bytes(b"held")
    records.add(one, {"fvu": None, "failed": "no memory"})
    assert not records.under_way(one).exists() and records.under_way(other).exists()
    assert records.under_way(one) != quality.Records(records.path, {"tokens": 2}).under_way(one)


# --- memory ----------------------------------------------------------------------------------------------------------


needs_mark = pytest.mark.skipif(not memory.is_measured(), reason="the system keeps no mark that can be set back")


@needs_mark
def test_growth_is_the_peak_and_not_what_stays() -> None:
    size = 64 << 20
    grown, kept = resident.growth(lambda: len(np.ones(size, np.uint8)))
    assert kept == size and 0.98 * size <= grown < 1.25 * size  # the system counts pages in batches
    assert resident.growth(lambda: None)[0] < size / 8


@needs_mark
def test_memory_beside_its_bound(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ROWS", 4096)
    trial = memory.Trial(["topk"], 4, 256, 3, 1, rows=4096)
    found = memory.measure(trial, (32, 512))["architectures"]["topk"]
    parameters = 2 * 32 * 512 + 512 + 32
    for part in ("loop", "fit"):
        assert found[part]["bound"] == 4 * (4.5 * parameters + 4 * 256 * 32)
        assert found[part]["growth"] > 0 and found[part]["ratio"] == found[part]["growth"] / found[part]["bound"]


def test_where_memory_is_not_measured_it_says_so(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", Path("/nowhere"))
    call("bench", "memory", "--json")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["found"] == [] and "not measured" in printed.err


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_of_a_model(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.txt").write_text("def f(x):\n    return x\n" * 40)
    out = tmp_path / "rows.npy"
    arguments = ["bench", "rows", "--model", "reference-a", "--site", "mlp_act.0", "--text", f"files:{tmp_path}/a.txt"]
    call(*arguments, "--out", out, "--json")
    told = result(capsys)
    rows = np.load(out)
    assert rows.shape == (told["rows"], 512) == (told["rows"], told["width"]) and rows.dtype == np.float32
    assert np.abs(rows).sum(1).min() > 0 and not out.with_name("rows.npy.partial").exists()
    call(*arguments, "--out", tmp_path / "some.npy", "--tokens", "100")
    assert np.load(tmp_path / "some.npy").shape == (100, 512)


def test_more_rows_than_the_disk_holds_are_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    (tmp_path / "a.txt").write_text("def f(x):\n    return x\n" * 40)
    monkeypatch.setattr("monoscope.app.bench.data.shutil.disk_usage", lambda place: SimpleNamespace(free=10**5))
    where = ["--model", "reference-a", "--site", "mlp_act.0", "--text", f"files:{tmp_path}/a.txt"]
    call("bench", "rows", *where, "--out", tmp_path / "rows.npy", code=2)
    assert "rows of 512 numbers take" in capsys.readouterr().err and not list(tmp_path.glob("*.npy*"))
