"""Coverage and reconstruction against brute force, planted features, and noise; logistic regression's optimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from monoscope.concepts import Concept, ConceptBits
from monoscope.interpret import logistic
from monoscope.interpret.coverage import PRECISE, cover


@dataclass
class Postings:
    offsets: np.ndarray
    rows: np.ndarray
    values: np.ndarray


def postings(dense: np.ndarray) -> Postings:
    features, rows = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(features, minlength=len(dense)))])
    return Postings(offsets, rows, dense[features, rows].astype(np.float32))


def world(masks: np.ndarray, n_documents: int = 40) -> tuple[ConceptBits, np.ndarray, np.ndarray]:
    """Concepts given as rows of bits; documents of equal length, the even ones for fitting."""
    n = masks.shape[1]
    words = np.zeros((n, 1), np.uint64)
    for c, mask in enumerate(masks):
        words[:, 0] |= mask.astype(np.uint64) << np.uint64(c)
    slots = np.arange(n) * n_documents // n
    concepts = tuple(Concept(f"c{c}", "", "calls", lambda d: d.nothing()) for c in range(len(masks)))
    fit = slots % 2 == 0
    return ConceptBits(concepts, words, masks.sum(1), np.zeros(n, np.int32), slots.astype(np.int32), ()), fit, ~fit


def brute_force(dense, masks, fit, test):
    maxima = np.where(fit, dense, 0).max(1)
    coverage = []
    for mask in masks:
        best = (0.0, 0, 0)
        for f in range(len(dense)):
            for t in range(10):
                on = (dense[f] > t / 10 * maxima[f]) & (dense[f] > 0) & (maxima[f] > 0)
                f1 = 2 * (on & mask & fit).sum() / ((on & fit).sum() + (mask & fit).sum())
                best = max(best, (f1, -f, -t))
        f, t = -best[1], -best[2]
        on = dense[f] > t / 10 * maxima[f]
        coverage.append(2 * (on & mask & test).sum() / ((on & test).sum() + (mask & test).sum()))
    scores = []
    for t in range(10):
        fit_f1, test_f1 = [], []
        for mask in masks:
            said = np.zeros(dense.shape[1], bool)
            for f in range(len(dense)):
                on = (dense[f] > t / 10 * maxima[f]) & (dense[f] > 0)
                if (on & fit).sum() >= 20 and (on & mask & fit).sum() >= PRECISE * (on & fit).sum():
                    said |= on
            for part, into in ((fit, fit_f1), (test, test_f1)):
                into.append(2 * (said & mask & part).sum() / max(1, (said & part).sum() + (mask & part).sum()))
        scores.append((np.mean(fit_f1), -t, np.mean(test_f1)))
    return np.mean(coverage), max(scores)[2]


@pytest.mark.parametrize("seed", range(4))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    n = 2000
    masks = rng.random((3, n)) < 0.2
    dense = rng.random((8, n)) * (rng.random((8, n)) < 0.1)
    for f in range(4):
        of = masks[f % 3] & (rng.random(n) < 0.7)
        dense[f] = np.where(of, 0.5 + rng.random(n), dense[f] * (rng.random(n) < 0.1) * 0.3)
    dense[7] = 0
    bits, fit, test = world(masks)
    found = cover(postings(dense), bits, range(3), fit, test)
    coverage, reconstruction = brute_force(np.float32(dense), masks, fit, test)
    assert found.coverage.value == pytest.approx(coverage)
    assert found.reconstruction.value == pytest.approx(reconstruction)
    assert found.coverage.low <= found.coverage.value <= found.coverage.high


def test_the_threshold_is_that_of_the_fit_documents_though_another_is_better_on_test():
    """Weak values are right on fit documents and wrong on the others."""
    rng = np.random.default_rng(4)
    masks = rng.random((1, 4000)) < 0.2
    bits, fit, test = world(masks)
    weak = rng.random(4000) < 0.5
    dense = np.where(weak, 0.3, 1.0) * np.where(test & weak, ~masks, masks)
    found = cover(postings(dense), bits, [0], fit, test)
    on = test & (dense[0] > 0)
    expected = 2 * (on & masks[0]).sum() / (on.sum() + (test & masks[0]).sum())
    assert found.thresholds.tolist() == [0]
    assert found.coverage.value == pytest.approx(expected) and found.reconstruction.value == pytest.approx(expected)


def test_planted_features_are_found_and_pieces_make_a_whole():
    """One feature is a concept; another concept is the union of two precise features, so only both rebuild it."""
    rng = np.random.default_rng(9)
    masks = rng.random((2, 4000)) < 0.15
    half = rng.random(4000) < 0.5
    dense = np.stack([masks[0], masks[1] & half, masks[1] & ~half]).astype(float)
    bits, fit, test = world(masks)
    found = cover(postings(dense), bits, [0, 1], fit, test)
    assert found.features[0] == 0 and found.f1[0] == 1
    assert found.f1[1] == pytest.approx(2 / 3, abs=0.05)
    assert found.reconstruction.value == 1


def test_noise_covers_little_and_rebuilds_nothing():
    rng = np.random.default_rng(10)
    masks = rng.random((2, 4000)) < 0.1
    bits, fit, test = world(masks)
    found = cover(postings(rng.random((30, 4000)) * (rng.random((30, 4000)) < 0.1)), bits, [0, 1], fit, test)
    assert found.coverage.value < 0.2 and found.reconstruction.value == 0


def test_logistic_regression_of_a_table_is_its_log_odds():
    """Closed form: with one binary column the fitted odds are the table's."""
    x = torch.tensor([[0.0]] * 50 + [[1.0]] * 30, dtype=torch.float64)
    y = torch.tensor([True] * 10 + [False] * 40 + [True] * 24 + [False] * 6)[:, None]
    found = logistic.fit(x, y, penalty=0.0, steps=200)
    scores = found.scores(torch.tensor([[0.0], [1.0]], dtype=torch.float64))[:, 0]
    torch.testing.assert_close(scores.exp(), torch.tensor([10 / 40, 24 / 6], dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.3, -1000.3])
def test_what_never_varies_has_no_weight_in_a_logistic_regression(constant):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 3, generator=g)
    y = x[:, :1] + torch.randn(300, 1, generator=g) > 1
    wide = torch.cat([x, torch.full((300, 1), constant)], 1)
    alone, beside = logistic.fit(x, y), logistic.fit(wide, y)
    assert beside.weights[3] == 0
    torch.testing.assert_close(beside.weights[:3], alone.weights, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(beside.scores(wide), alone.scores(x), rtol=1e-3, atol=1e-3)


def test_logistic_regression_stands_where_the_gradient_is_nothing():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 6, generator=g, dtype=torch.float64) * torch.tensor([1.0, 5, 0.2, 1, 1, 3])
    y = torch.rand(400, 3, generator=g) < torch.sigmoid(x @ torch.randn(6, 3, generator=g, dtype=torch.float64) - 0.5)
    penalty = 1e-2
    found = logistic.fit(x, y, penalty=penalty, steps=500)
    residual = torch.sigmoid(found.scores(x)) - y.double()
    spread = x.std(0)
    rows = (x - x.mean(0)) / spread
    gradient = rows.T @ residual / len(x) + 2 * penalty * found.weights * spread[:, None]
    assert float(gradient.abs().max()) < 1e-5 and float(residual.mean(0).abs().max()) < 1e-5
