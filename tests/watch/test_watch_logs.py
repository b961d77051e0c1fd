"""The audit log's chain, and the numbers of a watch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_actions import acting, said
from watch_world import model, tokens

import monoscope as ms
from monoscope.errors import MonoscopeError
from monoscope.watch.audit import FIRST, Audit, verify
from monoscope.watch.metrics import Metrics
from monoscope.watch.rules import Act


def log(path: Path, n: int = 5) -> list[str]:
    audit = Audit(path)
    for i in range(n):
        audit.write({"event": i, "text": "ä\n"})
    audit.close()
    return path.read_text().splitlines(keepends=True)


def test_a_log_is_a_chain_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    log(path)
    log(path)
    found = verify(path)
    assert (found.lines, found.broken, found.torn) == (10, None, 0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["previous"] == FIRST and [line["event"] for line in lines] == [*range(5)] * 2
    assert len({line["previous"] for line in lines} | {found.head}) == 11


@given(st.integers(0, 4), st.sampled_from(["change", "drop", "swap", "insert", "text"]))
def test_no_line_can_be_changed_alone(tmp_path_factory: pytest.TempPathFactory, at: int, how: str) -> None:
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    lines, head = log(path), verify(path).head
    if how == "change":
        lines[at] = lines[at].replace('"event": ', '"event": 1')
    elif how == "drop":
        del lines[at]
    elif how == "swap":
        lines[at], lines[at - 1] = lines[at - 1], lines[at]
    elif how == "insert":
        lines.insert(at, lines[at])
    else:
        lines[at] = "not json\n"
    path.write_text("".join(lines))
    found = verify(path)
    assert found.broken is not None or found.head != head  # the last line alone is known by the hash that was kept
    assert found.broken is not None or (at == 4 and how in ("change", "drop"))


def test_half_a_line_is_cut_off_and_the_log_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    whole = log(path)
    path.write_text("".join(whole) + '{"event": 5, "te')
    assert verify(path).torn == 16 and verify(path).lines == 5
    log(path, 1)
    found = verify(path)
    assert (found.lines, found.broken, found.torn) == (7, None, 0) and "16 bytes" in path.read_text().splitlines()[5]


def test_a_log_that_was_changed_or_is_in_use_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = log(path)
    held = Audit(path)
    with pytest.raises(MonoscopeError, match="another program"):
        Audit(path)
    held.close()
    with pytest.raises(MonoscopeError, match="is closed"):
        held.write({})
    path.write_text("".join([*lines[:2], *lines[3:]]))
    with pytest.raises(MonoscopeError, match="line 3"):
        Audit(path)
    with pytest.raises(MonoscopeError, match="cannot be read"):
        verify(tmp_path / "none")


def test_the_log_of_a_shadow_says_what_would_have_been_done(tmp_path: Path) -> None:
    made = acting(tmp_path, Act("tag"), Act("stop"))
    for shadow in (False, True):
        said(made, tokens(3, 8), shadow=shadow, audit=tmp_path / f"{shadow}.jsonl")
        lines = [json.loads(line) for line in (tmp_path / f"{shadow}.jsonl").read_text().splitlines()]
        assert lines[0]["began"]["shadow"] is shadow and lines[-1]["ended"]["tokens"] >= 24
        events = lines[1:-1]
        assert events and all(e["actions"] == (["tag"] if shadow else ["tag", "stop"]) for e in events)
        assert all(e.get("would") == (["stop"] if shadow else None) for e in events)
        assert verify(tmp_path / f"{shadow}.jsonl").broken is None


def test_numbers_are_told_as_prometheus_reads_them(tmp_path: Path) -> None:
    with ms.watch(model(), acting(tmp_path, Act("tag")), record=tmp_path / "r") as watching:
        model()(input_ids=tokens(3, 20))
        during = watching.acting.metrics.text()
    text = watching.acting.metrics.text()
    raised = sum(e.kind == "raised" for row in watching.rows for e in row.events)
    active = sum(len(row.monitor.active) for row in watching.rows)
    assert "monoscope_watch_tokens_total 60\n" in text and "monoscope_watch_sequences_total 3\n" in text
    assert f'monoscope_watch_events_total{{kind="raised",rule="x is high"}} {raised}\n' in text
    assert f'monoscope_watch_active{{rule="x is high"}} {active}\n' in during
    assert 'monoscope_watch_active{rule="x is high"} 0\n' in text
    assert "monoscope_watch_recorded_tokens_total 60\n" in text
    often = acting(tmp_path, Act("stop"))
    with ms.watch(model(), often) as watching:
        model().generate(tokens(3, 8), max_new_tokens=5, stopping_criteria=[watching.stopping], pad_token_id=0)
        assert 'monoscope_watch_active{rule="x is high"} 0\n' in watching.acting.metrics.text()  # stopped is ended
    for line in text.splitlines():
        assert line.startswith(("# HELP monoscope_watch_", "# TYPE monoscope_watch_", "monoscope_watch_"))
    odd = Metrics()
    odd.add("events", rule='a "b"\n\\')
    assert 'rule="a \\"b\\"\\n\\\\"' in odd.text()
