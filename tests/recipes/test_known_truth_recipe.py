"""The recipe trains, judges and writes what it shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
import known_truth  # isort: skip

from monoscope.errors import MonoscopeError
from monoscope.evaluate import Estimate


def test_it_writes_every_dictionary_with_its_controls(tmp_path, capsys):
    known_truth.compare(
        architectures="topk", l0="3", n_tokens=8192, n_judged=4096, seeds=2, n_features=96, out=tmp_path, ceiling=True
    )
    written = json.loads((tmp_path / "known_truth.json").read_text())
    assert written["n_features"] == 96 and written["settings"]["n_true"] == 512
    truth = ", true directions"
    assert [d["name"] for d in written["dictionaries"]] == ["topk 3", f"topk 3{truth}"]
    for dictionary in written["dictionaries"]:
        assert len(dictionary["measured"]) == len(dictionary["controls"]) == len(dictionary["seconds"]) == 2
        given = dictionary["name"].endswith(truth)  # then nothing is left for the seed to decide
        assert (dictionary["measured"][0] == dictionary["measured"][1]) == given
        for measured, controls in zip(dictionary["measured"], dictionary["controls"], strict=True):
            assert (measured["mcc"]["value"] > 0.999) == given
            assert 0.5 * dictionary["l0"] < measured["l0"]["value"] <= dictionary["l0"]
            assert measured["mcc"]["value"] > controls["shuffled"]["mcc"]["value"]
            assert set(controls) == set(known_truth.CONTROLS)
    assert "recovered" in capsys.readouterr().out


def test_seeds_are_averaged_and_their_intervals_joined():
    runs = [{"f1": Estimate(0.2, 0.1, 0.3)}, {"f1": Estimate(0.4, 0.3, 0.5)}, {"f1": Estimate()}, {}]
    assert known_truth.over_seeds(runs, "f1") == Estimate(pytest.approx(0.3), 0.1, 0.5)
    assert known_truth.over_seeds(runs, "mcc") == Estimate()


def test_options_are_numbers_where_they_can_be():
    assert [known_truth.option(o) for o in ("a=3", "b=0.5", "c=bf16")] == [("a", 3), ("b", 0.5), ("c", "bf16")]
    with pytest.raises(MonoscopeError, match="name=value"):
        known_truth.option("a")
