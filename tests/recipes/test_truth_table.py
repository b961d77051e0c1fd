"""The table of contenders: grids, the choice of a setting, piecewise making, what is shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
import truth_grids  # isort: skip
import truth_table  # isort: skip

from monoscope.errors import MonoscopeError
from monoscope.train.fit import fit
from monoscope.worlds import preset
from monoscope.worlds.presets import PRESETS

GRIDS = {"sparsify:topk": truth_grids.SELECTS, "monoscope:topk": {"rate": [1e-6, 1e-2], "k": [4]}}


def contest(out: Path, seeds: int = 2) -> truth_table.Contest:
    return truth_table.Contest(preset("small"), Path("no-such-python"), 64, 8192, 512, seeds, 4096, out, GRIDS)


def test_grids_are_spread_out_and_names_are_checked():
    assert next(iter(truth_table.settings(truth_grids.SELECTS))) == {"rate": truth_grids.RATES[0], "k": 4}
    for world, grids in truth_grids.GRIDS.items():
        assert world in PRESETS and truth_grids.of(world) is grids
        for grid in grids.values():
            assert (4 if world == "small" else 2) <= len(list(truth_table.settings(grid))) <= 16
        assert truth_table.contenders("", grids) == list(grids)
        with pytest.raises(MonoscopeError, match="did you mean 'saelens:topk'"):
            truth_table.contenders("saelens:topkk", grids)
    with pytest.raises(MonoscopeError, match="unknown world with a table"):
        truth_grids.of("large")
    narrow = truth_grids.of("small", "3e-3")
    assert all({setting["rate"] for setting in truth_table.settings(grid)} == {3e-3} for grid in narrow.values())
    assert narrow["saelens:topk"]["k"] == truth_grids.SMALL["saelens:topk"]["k"]
    with pytest.raises(MonoscopeError, match="'fast' are no rates"):
        truth_grids.of("small", "fast")


def test_of_one_setting_nothing_is_chosen(tmp_path):
    grids = {"monoscope:topk": {"rate": [1e-2], "k": [4]}}
    one = truth_table.contend(replace(contest(tmp_path, 1), grids=grids), "monoscope:topk")
    assert one["setting"] == {"rate": 1e-2, "k": 4} and one["sweep"] == []
    assert len(one["measured"]) == len(one["cpu_seconds"]) == 1


def test_rows_are_those_that_ours_train_on(tmp_path):
    rows = np.load(truth_table.rows_of(contest(tmp_path)))
    expected = np.concatenate([block.numpy() for block in islice(preset("small").blocks(), 8)])[:8192]
    assert rows.shape == (8192, 64) and np.array_equal(rows, expected)


def test_the_setting_that_recovers_most_is_judged_and_nothing_is_made_twice(tmp_path):
    out = tmp_path / "not" / "there"
    (one,) = truth_table.run(contest(out), ["monoscope:topk"])
    tried = [line["mcc"] for line in one["sweep"]]
    assert tried[1] > tried[0]
    assert one["sweep"][[s["rate"] for s in one["sweep"]].index(one["setting"]["rate"])]["recovered"] == max(
        line["recovered"] for line in one["sweep"]
    )
    assert len(one["measured"]) == len(one["controls"]) == len(one["cpu_seconds"]) == 2
    assert one["measured"][0]["mcc"] != one["measured"][1]["mcc"]
    path = out / "table" / "monoscope-topk.json"
    before = path.stat().st_mtime_ns
    again = truth_table.run(contest(out), ["monoscope:topk"])
    assert path.stat().st_mtime_ns == before and again == [one]
    assert truth_table.table("t", 512, again).row_count == 1


def test_a_peer_that_fails_says_so(tmp_path):
    with pytest.raises(MonoscopeError, match="cannot be started"):
        truth_table.run(contest(tmp_path), ["sparsify:topk"])
    assert not list((tmp_path / "table").glob("*.json"))


def test_a_training_that_diverged_has_found_nothing_and_other_faults_are_told(tmp_path):
    world = preset("small")
    x, truth = world.rows(512)
    made = fit(x, 16, "topk", k=2, batch_size=128, show_progress=False)
    made.save(tmp_path / "whole")
    assert truth_table.found_by(tmp_path / "whole", world, x, truth)["fvu"] > 0
    made.w_enc[0, 0] = float("nan")
    made.save(tmp_path / "diverged")
    assert truth_table.found_by(tmp_path / "diverged", world, x, truth) == {"recovered": 0.0, "diverged": True}
    with pytest.raises(MonoscopeError, match="nowhere"):
        truth_table.found_by(tmp_path / "nowhere", world, x, truth)
