"""Recordings: what is written is read, killed and cut ones open, and rules give the alarms that they gave live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from watch_world import FEATURES, D, dictionary, model, saved, some_rules, tokens

import monoscope as ms
from monoscope.dictionary.base import architectures
from monoscope.errors import MonoscopeError
from monoscope.signals.direction import Direction
from monoscope.types import Code
from monoscope.watch import blocks
from monoscope.watch.blocks import Block, Codes
from monoscope.watch.monitor import Event
from monoscope.watch.precision import rounded
from monoscope.watch.recorder import BLOCKS, Recorder
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay
from monoscope.watch.rules import Condition, Rule, Rules, Signal

NO_FACTS: dict[str, Any] = {"signals": [{}, {}], "codes": [{}]}


@st.composite
def some_blocks(draw: Any) -> Block:
    n, generator = draw(st.integers(0, 12)), np.random.default_rng(draw(st.integers(0, 99)))
    codes = []
    for _ in range(draw(st.integers(0, 2))):
        rows = [np.sort(generator.choice(50_000, generator.integers(0, 5), replace=False)) for _ in range(n)]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        features = np.concatenate([np.zeros(0, np.int64), *rows])
        codes.append(Codes(offsets, features, generator.normal(size=len(features)).astype(np.float16)))
    whole = [generator.integers(0, high, n) for high in (2**31, 4096, 200_000)]
    values = generator.normal(size=(n, draw(st.integers(0, 3)))).astype(np.float16)
    return Block(*whole, values, tuple(codes), {"ended": [1, 2]} if draw(st.booleans()) else {})


def same(a: Block, b: Block) -> bool:
    plain = all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("sequences", "places", "tokens", "values"))
    parts = zip(a.codes, b.codes, strict=True)
    return plain and a.notes == b.notes and all(
        np.array_equal(getattr(x, n), getattr(y, n)) for x, y in parts for n in ("offsets", "features", "values")
    )  # fmt: skip


@settings(deadline=None)
@given(st.lists(some_blocks(), max_size=3), st.data())
def test_blocks_are_read_as_written_and_a_file_cut_anywhere_holds_those_before(made: list[Block], data: Any) -> None:
    written = [blocks.packed(block) for block in made]
    ends = np.cumsum([0, *map(len, written)])
    cut = data.draw(st.integers(0, int(ends[-1])))
    rest, at, found = b"".join(written)[:cut], 0, []
    while (framed := blocks.framed(rest, at)) is not None:
        body, at = framed
        found.append(blocks.unpacked(body))
    assert len(found) == int((ends[1:] <= cut).sum())
    assert all(same(a, b) for a, b in zip(found, made, strict=False))


def test_damage_before_the_end_is_an_error(tmp_path: Path) -> None:
    folder = recorded(tmp_path, Recorder(tmp_path / "r", tokens=8))
    data = bytearray((folder / BLOCKS).read_bytes())
    data[40] ^= 1
    (folder / BLOCKS).write_bytes(data)
    with pytest.raises(MonoscopeError, match="damaged at byte 0"):
        list(Recording(folder).blocks())


def recorded(folder: Path, recorder: Recorder, rules: Rules | None = None, **options: Any) -> Path:
    """A recording of two batches that the model goes on with, one of them padded."""
    with ms.watch(model(), rules or some_rules(folder), record=recorder) as watching:
        for seed, cached in ((0, True), (5, False)):
            ids = tokens(3, 8, seed)
            mask = torch.ones_like(ids)
            mask[1, : 3 + seed % 2] = 0
            watching.names = ["", "padded"] if seed else []
            model().generate(ids, attention_mask=mask, max_new_tokens=9, do_sample=False, use_cache=cached, **options)
    return recorder.path


class Gathered(list):
    """Every event of a watch."""

    def __enter__(self) -> Any:
        from monoscope.watch import acting

        self._plain = plain = acting.Acting.on

        def on(inner: Any, followed: Any, events: list[Event]) -> None:
            self.extend((followed.number, event) for event in events)
            plain(inner, followed, events)

        acting.Acting.on = on
        return self

    def __exit__(self, *given: Any) -> None:
        from monoscope.watch import acting

        acting.Acting.on = self._plain


@pytest.mark.parametrize("codes", [None, ()])
@pytest.mark.parametrize("name", architectures())
def test_offline_and_live_give_the_same_alarms(name: str, codes: Any, tmp_path: Path) -> None:
    made = some_rules(tmp_path, name)
    with Gathered() as live:
        folder = recorded(tmp_path, Recorder(tmp_path / "r", codes=codes, tokens=10), made)
    found = replay(Recording(folder), made)
    for number in range(6):
        assert [e for n, e in found.events if n == number] == [e for n, e in live if n == number]
    assert len(found.events) == len(live) > 10
    assert (found.sequences, found.complete, found.names[4]) == (6, True, "padded")
    with Gathered() as unrecorded, ms.watch(model(), made):
        model().generate(tokens(3, 8, 5), max_new_tokens=9, do_sample=False, attention_mask=torch.ones(3, 8).long())
    with Gathered() as again, ms.watch(model(), made, record=tmp_path / "again"):
        model().generate(tokens(3, 8, 5), max_new_tokens=9, do_sample=False, attention_mask=torch.ones(3, 8).long())
    assert unrecorded == again


def test_rules_that_did_not_exist_then_find_what_a_watch_would_have_found(tmp_path: Path) -> None:
    folder = recorded(tmp_path, Recorder(tmp_path / "r"))
    new = Rules(
        tuple(Signal(f"f{f}", Direction(str(tmp_path / "one"), f)) for f in range(FEATURES)),
        tuple(
            Rule(f"r{f}", Condition(f"f{f}", 0.2, aggregation="mean", options={"window": 3})) for f in range(FEATURES)
        ),
    )
    with Gathered() as live:
        recorded(tmp_path, Recorder(tmp_path / "other"), new)
    found = replay(Recording(folder), new)
    assert sorted(found.events, key=str) == sorted(live, key=str) and len({e.rule for _, e in live}) > 5


def test_what_is_recorded_are_the_codes_of_every_new_token(tmp_path: Path) -> None:
    given = tokens(2, 6)
    with ms.watch(model(), record=Recorder(tmp_path / "r", codes=[saved(tmp_path / "one", dictionary("topk"))])):
        out = model()(input_ids=given, output_hidden_states=True)
    (block,) = Recording(tmp_path / "r").blocks()
    dense = dictionary("topk").encode(out.hidden_states[1].reshape(-1, D)).to_dense()
    found = np.stack([block.codes[0].column(f) for f in range(FEATURES)], 1)
    assert np.array_equal(found, rounded(dense.numpy())) and (found > 0).any()
    assert block.tokens.tolist() == given.reshape(-1).tolist()
    assert block.sequences.tolist() == [0] * 6 + [1] * 6 and block.places.tolist() == [*range(6), *range(6)]


def test_what_was_not_recorded_is_refused(tmp_path: Path) -> None:
    made = some_rules(tmp_path)
    recording = Recording(recorded(tmp_path, Recorder(tmp_path / "r", codes=[]), made))
    with pytest.raises(MonoscopeError, match=r"x was not recorded.*\n.*three, five, other, probe"):
        recording.columns(Rules((Signal("x", Direction(str(tmp_path / "one"), 4)),)))
    with pytest.raises(MonoscopeError, match="for another model"):
        recording.columns(Rules(made.signals, fingerprint="0" * 64))
    full = Recording(recorded(tmp_path, Recorder(tmp_path / "f"), made))
    with pytest.raises(MonoscopeError, match="no feature 99"):
        full.columns(Rules((Signal("x", Direction(str(tmp_path / "one"), 99)),)))
    with pytest.raises(MonoscopeError, match="there already"):
        Recorder(tmp_path / "f")
    with pytest.raises(MonoscopeError, match="nothing is watched"), ms.watch(model()):
        pass


def test_a_recording_needs_about_a_hundred_bytes_a_token(tmp_path: Path) -> None:
    """32 of 16,384 features on every token, drawn by Zipf's law, with values as spread as they can be."""
    generator, n = np.random.default_rng(0), 4096
    p = 1 / np.arange(10, 16_394) ** 0.8
    features = [generator.choice(16_384, 32, replace=False, p=p / p.sum()) for _ in range(n)]
    values = generator.lognormal(0, 1, (n, 32)).astype(np.float32)
    code = Code.from_rows(torch.from_numpy(np.array(features)), torch.from_numpy(values), 16_384)
    recorder = Recorder(tmp_path / "r")
    recorder.begin({"signals": [], "codes": [{}]})
    words = generator.zipf(1.2, n) % 50_257
    recorder.add(np.repeat(np.arange(8), n // 8), np.tile(np.arange(n // 8), 8), words, np.zeros((n, 0)), [code])
    recorder.close()
    assert recorder.n_tokens == n and recorder.n_bytes / n < 105


def test_a_full_block_is_written_and_an_old_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", tokens=100, entries=60, seconds=1e9)
    recorder.begin(NO_FACTS)
    code = Code.from_rows(torch.zeros(4, 1).long(), torch.ones(4, 1), 5)
    sizes = []
    for _ in range(15):
        recorder.add(np.zeros(4, int), np.arange(4), np.arange(4), np.ones((4, 2)), [code])
        sizes.append(recorder.n_tokens)
    assert sizes[4] == 20 and sizes[3] == 0 and recorder.n_tokens == 60
    recorder._limits = (100, 60, 0.0)
    recorder.add(np.zeros(4, int), np.arange(4), np.arange(4), np.ones((4, 2)), [code])
    assert recorder.n_tokens == 64


WRITER = """
import sys, numpy as np, torch
from monoscope.types import Code
from monoscope.watch.recorder import Recorder
recorder = Recorder(sys.argv[1], tokens=64)
recorder.begin({"signals": [], "codes": [{}]})
for i in range(10**9):
    code = Code.from_rows(torch.arange(3)[None] + i % 7, torch.ones(1, 3) * (1 + i % 5), 10)
    recorder.add(np.array([i % 4]), np.array([i // 4]), np.array([i]), np.zeros((1, 0)), [code])
    if i == 1000:
        print("written", flush=True)
"""


def test_a_program_that_is_killed_loses_its_open_block_at_most(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "r"], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "written\n"
        time.sleep(0.05)
        os.kill(writer.pid, signal.SIGKILL)
    recording, i = Recording(tmp_path / "r"), 0
    assert not recording.complete
    for block in recording.blocks():
        for row in range(len(block)):
            assert (block.sequences[row], block.places[row], block.tokens[row]) == (i % 4, i // 4, i)
            at = slice(*block.codes[0].offsets[row : row + 2])
            assert block.codes[0].features[at].tolist() == [i % 7 + j for j in range(3)]
            assert block.codes[0].values[at].tolist() == [1.0 + i % 5] * 3
            i += 1
    assert i > 1000 - 64 and i % 64 == 0
