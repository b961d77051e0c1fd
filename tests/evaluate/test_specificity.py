"""Specificity by hand; sensitivity and correlations against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monoscope.evaluate.specificity import LEVELS, Correlations, sensitivity, specificity
from monoscope.types import Code


def test_specificity_by_hand():
    activation = np.array([0.0, 0.1, 0.2, 1.0, 0.9, 0.0, 0.62])
    proxy = np.array([5.0, -5.0, -50.0, 3.0, 50.0, -1.0, -0.5])
    found = specificity(activation, proxy, np.array([-10.0, 0.0, 10.0]))
    assert found.base == pytest.approx(3 / 7)
    assert (found.n_active, found.of_active) == (5, pytest.approx(2 / 5))
    assert found.of_mass == pytest.approx(1.9 / 2.82)
    assert (found.n_top, found.of_top) == (3, pytest.approx(2 / 3))
    assert found.counts.sum(0).tolist() == [3, 2]
    assert found.counts[LEVELS - 1].tolist() == [0, 1]
    assert found.mass.sum() == pytest.approx(2.82)
    assert found.in_class[-1] == 1 and found.in_class[12] == 0 and np.isnan(found.in_class[7])


def test_silent_activation_has_no_specificity():
    found = specificity(np.zeros(4), np.ones(4), np.array([-1.0, 0.0, 1.0]))
    assert found.n_active == 0 and np.isnan(found.of_active) and found.counts.sum() == 0


def test_sensitivity_is_pearson_with_an_interval_over_documents():
    rng = np.random.default_rng(0)
    slots = np.repeat(np.arange(50) * 3, 20)
    in_class = rng.random(1000) < 0.1
    activation = (in_class * 2 + rng.normal(size=1000)).clip(0).astype(np.float32)
    found = sensitivity(activation, in_class, slots)
    assert found.value == pytest.approx(np.corrcoef(activation, in_class)[0, 1], rel=1e-6)
    assert found.low < found.value < found.high
    with np.errstate(invalid="ignore"):
        assert sensitivity(np.zeros(1000), in_class, slots).value is None


@pytest.mark.parametrize("constant", [0.1, 0.3, 0.7, 1.9])
def test_what_never_varies_correlates_with_nothing(constant):
    """Sums of 0.1 are rounded, and differ from 700 times their mean by a little."""
    rng = np.random.default_rng(0)
    x, y = torch.full((700, 1), constant, dtype=torch.float64), torch.full((700, 1), 0.7, dtype=torch.float64)
    both, one = Correlations(1, 1), Correlations(1, 1)
    both.add_rows(x, y)
    one.add_rows(x, torch.from_numpy(rng.random((700, 1))))
    assert np.isnan(both.pearson()).all() and np.isnan(one.pearson()).all()
    in_class = rng.random(700) < 0.3
    assert sensitivity(x[:, 0].numpy(), in_class, np.arange(700) // 25).value is None
    varies = x[:, 0].numpy() + 1e-3 * rng.normal(size=700)
    expected = np.corrcoef(varies, in_class)[0, 1]
    assert sensitivity(varies, in_class, np.arange(700) // 25).value == pytest.approx(expected, rel=1e-6)


def test_correlations_of_sparse_and_dense_columns_equal_numpy():
    rng = np.random.default_rng(1)
    x = rng.random((200, 6)) * (rng.random((200, 6)) < 0.3)
    x[:, 4] = 0
    y = (rng.random((200, 3)) < 0.2).astype(float)
    sparse, dense = Correlations(6, 3), Correlations(6, 3)
    for part in (slice(0, 90), slice(90, 200)):
        rows, targets = torch.from_numpy(x[part]), torch.from_numpy(y[part])
        sparse.add_code(Code.from_dense(rows), targets)
        dense.add_rows(rows, targets)
    expected = [[np.corrcoef(x[:, i], y[:, j])[0, 1] if i != 4 else np.nan for j in range(3)] for i in range(6)]
    np.testing.assert_allclose(sparse.pearson(), expected, rtol=1e-9)
    np.testing.assert_allclose(dense.pearson(), expected, rtol=1e-9)
