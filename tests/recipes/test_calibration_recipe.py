"""What half of the documents says of the other: nothing is off where they are alike, and a long one decides less."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
import calibration as recipe  # isort: skip


def test_alike_documents_agree_and_a_long_odd_one_is_held_back(monkeypatch):
    monkeypatch.setattr(recipe, "DEALS", 200)
    rng = np.random.default_rng
    lengths, l0 = np.full(40, 500.0), rng(1).normal(30, 2, 40)
    assert abs(recipe.apart(lengths, np.full(40, 30.0), 0, rng(0))).max() < 1e-12
    lengths[3], l0[3] = 20_000, 10.0
    whole, held_back = (recipe.apart(lengths, l0, enough, rng(0)) for enough in (0, 500))
    assert len(whole) == 200 and (whole > 0.3).any() and (whole < -0.3).any()  # in one half, or the other
    assert (held_back**2).mean() < (whole**2).mean()


def test_one_deal_is_worked_out(monkeypatch):
    monkeypatch.setattr(recipe, "DEALS", 1)
    lengths, l0 = np.array([1.0, 3.0, 4.0, 2.0]), np.array([10.0, 20.0, 30.0, 40.0])
    a, b, c, d = np.random.default_rng(5).permutation(4)
    one = (min(lengths[a], 2) * l0[a] + min(lengths[b], 2) * l0[b]) / (min(lengths[a], 2) + min(lengths[b], 2))
    other = (lengths[c] * l0[c] + lengths[d] * l0[d]) / (lengths[c] + lengths[d])
    (found,) = recipe.apart(lengths, l0, 2, np.random.default_rng(5))
    assert found == pytest.approx(np.log(other / one), rel=1e-12)
