"""The n-gram baseline is a distribution, and learns what can be learned."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "recipes"))
from kneser_ney import KneserNey


@pytest.fixture(scope="module")
def model() -> KneserNey:
    rng = np.random.default_rng(0)
    return KneserNey([rng.zipf(1.6, 300).clip(0, 11) for _ in range(20)], 12)


def test_probabilities_add_up_to_one(model):
    v = model.vocabulary
    for a, b in [(1, 1), (1, 2), (11, 7), (v - 1, v - 1)]:
        keys = (a * v + b) * v + np.arange(v)
        p = np.full(v, 1 / v)
        for order, level in enumerate(model.levels):
            p = level.probability((keys // v) % v**order, keys % v, p)
        assert p.sum() == pytest.approx(1)
        assert (p > 0).all()


def test_a_deterministic_sequence_is_learned_and_a_random_one_is_not(model):
    loop = KneserNey([np.tile([1, 2, 3, 4, 5], 200)], 12)
    assert loop.nats(np.tile([1, 2, 3, 4, 5], 10))[2:].mean() < 0.02
    assert loop.nats(np.array([5, 3, 1, 4, 2])).mean() > 2


def test_trigrams_beat_unigrams_where_order_matters():
    rng = np.random.default_rng(1)
    text = []
    for _ in range(3000):
        a = int(rng.integers(0, 6))
        text += [a, a + 6]
    held_out = np.array(text[:600])
    model = KneserNey([np.array(text[600:])], 12)
    assert model.nats(held_out).mean() < model.unigram_nats(held_out).mean() - 0.5
