"""``monoscope watch``: texts read and gone on with, recordings replayed, logs verified, rules begun and calibrated."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from monoscope.app import cli, watching
from monoscope.dictionary import io as dictionaries
from monoscope.dictionary.base import architecture
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.models import load_model
from monoscope.signals.direction import Direction
from monoscope.watch import rules
from monoscope.watch.audit import verify
from monoscope.watch.recording import Recording
from monoscope.watch.rules import Act, Condition, Rule, Rules, Signal

TEXT = "class Shape:\n    def area(self):\n        return self.width * self.height\n\n\ndef f(x):\n    return x\n"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rules over a small random dictionary of reference-a, some of which ask for actions."""
    folder, lm = tmp_path_factory.mktemp("watch"), load_model("reference-a")
    made = architecture("l1")(lm.width("mlp_out.0"), 32).requires_grad_(False)
    made.w_enc.copy_(torch.randn(made.w_enc.shape, generator=torch.Generator().manual_seed(0)))
    made.w_dec.copy_(made.w_enc)
    made.provenance = {"site": "mlp_out.0", "fingerprint": lm.fingerprint}
    dictionaries.save(made, folder / "d")
    signals = [Signal(f"s{i}", Direction(str(folder / "d"), i, sha256=content_hash(made))) for i in range(3)]
    some = [
        Rule("often", Condition("s0", 0.0), actions=(Act("tag"),)),
        Rule("third", Condition("s1", 3.0, aggregation="count"), actions=(Act("stop"),)),
        Rule("alerted", Condition("s2", 0.0), actions=(Act("alert"),)),
    ]
    pinned = Rules(tuple(signals), tuple(some), "reference-a", lm.fingerprint)
    rules.save(pinned, folder / "alerts.toml")
    rules.save(Rules(pinned.signals, pinned.rules[:2], pinned.model, pinned.fingerprint), folder / "rules.toml")
    (folder / "text.py").write_text(TEXT * 150)
    return folder


def call(*arguments: Any, code: int = 0) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["watch", *map(str, arguments)])
    assert exit_.value.code == code


def said(capsys: pytest.CaptureFixture, *arguments: Any) -> Any:
    capsys.readouterr()
    call(*arguments)
    return json.loads(capsys.readouterr().out)


def test_a_text_is_read_and_gone_on_with(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ["run", "reference-a", TEXT, "--rules", given / "rules.toml", "--json"]
    read = said(capsys, *common)
    (sequence,) = read["sequences"]
    assert sequence["events"] and sequence["tags"] == ["often"] and sequence["written"] == ""
    lm = load_model("reference-a")
    words = [lm.tokeniser.fast.decode(t) for t in [*lm.tokeniser.prefix, *lm.tokeniser.text(TEXT).tokens.tolist()]]
    assert read["tokens"] == len(words)
    for event in sequence["events"]:
        assert event["token"] == words[event["place"]]
        assert event["before"].endswith("".join(words[max(0, event["place"] - 3) : event["place"]]))
    more = said(capsys, *common[:2], TEXT[:14], *common[3:], "--generate", "30", "--shadow")
    (longer,) = more["sequences"]
    assert longer["tokens"] > 30 and longer["written"] and not longer["stopped"]
    stopped = said(capsys, *common[:2], TEXT[:14], *common[3:], "--generate", "30", "--audit", tmp_path / "log.jsonl")
    assert stopped["sequences"][0]["stopped"] and stopped["tokens"] < more["tokens"]
    assert longer["written"].startswith(stopped["sequences"][0]["written"])
    call("verify", tmp_path / "log.jsonl", "--head", verify(tmp_path / "log.jsonl").head)
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert said(capsys, *common[:2], "-", *common[3:]) == read


def test_what_was_recorded_gives_the_alarms_that_there_were(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = ["--text", f"files:{given}/text.py", "--rules", given / "rules.toml", "--json"]
    options = ["--record", tmp_path / "seen", "--metrics", tmp_path / "m.prom", "--tokens", "600"]
    live = said(capsys, "run", "reference-a", *files, *options)
    offline = said(capsys, "replay", tmp_path / "seen", "--rules", given / "rules.toml", "--json")
    kept = ("sequence", "name", "tokens", "events")
    with_events = [{key: each[key] for key in kept} for each in live["sequences"] if each["events"]]
    assert offline["sequences"] == with_events and len(with_events) > 1 and offline["complete"]
    assert offline["tokens"] == live["tokens"] == 600 + len(live["sequences"])
    assert f"monoscope_watch_tokens_total {live['tokens']}\n" in (tmp_path / "m.prom").read_text()
    assert len(Recording(tmp_path / "seen").facts["codes"]) == 1
    call("replay", tmp_path / "seen", "--rules", given / "rules.toml")
    out = capsys.readouterr().out
    assert "▲" in out and "text.py" in out and "from token" in out and "alarms on" in out
    call("run", "reference-a", *files[:-1], "--record", tmp_path / "seen", code=2)
    assert "there already" in capsys.readouterr().err


def test_a_changed_log_is_an_error(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = tmp_path / "log.jsonl"
    call("run", "reference-a", TEXT, "--rules", given / "rules.toml", "--audit", log)
    lines = log.read_text().splitlines(keepends=True)
    capsys.readouterr()
    log.write_text("".join(lines[:-1]))
    call("verify", log)
    call("verify", log, "--head", "0" * 64, code=2)
    assert "another line than the one that was kept" in capsys.readouterr().err
    log.write_text("".join([lines[0], lines[1].replace('"place": ', '"place": 1'), *lines[2:]]))
    call("verify", log, "--json", code=2)
    told = capsys.readouterr()
    assert json.loads(told.out)["broken"] == 3 and "line 3" in told.err


def test_calibration_writes_ranges(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = ["--text", f"files:{given}/text.py", "--rules", given / "rules.toml"]
    call("run", "reference-a", *files, "--record", tmp_path / "seen", "--tokens", "600")
    call("calibrate", tmp_path / "seen", "--rules", given / "rules.toml", "--out", tmp_path / "c.toml", code=2)
    assert "no window of 4096" in capsys.readouterr().err
    call("run", "reference-a", *files, "--record", tmp_path / "more")
    call("calibrate", tmp_path / "more", "--rules", given / "rules.toml", "--out", tmp_path / "c.toml")
    for signal in rules.load(tmp_path / "c.toml").signals:
        assert signal.density is not None and 0 <= signal.density[0] <= signal.density[1] <= 1


def test_what_cannot_be_watched_is_refused(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kept = ["--rules", given / "rules.toml"]
    for arguments, message in (
        (["run", "reference-a", *kept], "what is watched?"),
        (["run", "reference-a", TEXT, "--text", "held_out", *kept], "what is watched?"),
        (["run", "reference-b", TEXT, *kept], "made for another model"),
        (["run", "reference-a", TEXT, *kept, "--generate", "999"], "do not fit"),
        (["run", "reference-a", TEXT, "--rules", given / "alerts.toml"], "where to"),
        (["run", "reference-a", TEXT, *kept, "--alert", "http://127.0.0.1:9/"], "no rule asks for alert"),
        (["run", "reference-a", TEXT, "--rules", given / "none.toml"], "is no rules"),
        (["replay", given, *kept], "no recording.json"),
        (["verify", given / "none"], "cannot be read"),
        (["new", given, "--feature", "1"], "plan.json"),
    ):
        call(*arguments, code=2)
        assert message in capsys.readouterr().err, arguments


def test_rules_are_begun_from_a_runs_features(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The catalogue is stood in for by what is asked of it: the largest values and the labels."""
    held = dictionaries.load(given / "d")
    plan = SimpleNamespace(model="reference-a", fingerprint=load_model("reference-a").fingerprint)

    class Catalogue(dict):
        features: ClassVar = {"label": ["a word", "a word", "", "a line break"]}

    catalogue = Catalogue({i: SimpleNamespace(max=top) for i, top in enumerate((4.0, 2.0, 8.0, 0.0))})
    run: Any = SimpleNamespace(path=given, dictionary=held, catalogue=catalogue, plan=plan)
    (given / "dictionary").symlink_to(given / "d")
    made = watching.rules_of(run, [0, 2], 0.5, 0.25)
    assert [(r.name, r.when.above, r.when.clear) for r in made.rules] == [("a word", 2.0, 1.0), ("feature 2", 4.0, 2.0)]
    assert [rule.name for rule in watching.rules_of(run, [0, 1], 0.5, None).rules] == ["feature 0", "feature 1"]
    with pytest.raises(MonoscopeError, match="feature 3 never fires"):
        watching.rules_of(run, [3], 0.5, None)
    rules.save(made, tmp_path / "made.toml")
    assert said(capsys, "run", "reference-a", TEXT, "--rules", tmp_path / "made.toml", "--json")["tokens"] > 20
