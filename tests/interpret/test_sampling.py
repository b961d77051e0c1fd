"""Rows of claims: exact where they are few, without bias where they are sampled."""

from __future__ import annotations

import numpy as np
import pytest
from interpret_world import random_bits

from monoscope.interpret.claims import AND, AND_NOT, NONE, OR, TOKENS
from monoscope.interpret.evidence import COMMON, gather
from monoscope.interpret.sampling import KEPT, claimed, holds, room

N_CONCEPTS = 70  # more than one word of bits


def world(n_rows):
    bits = random_bits(np.random.default_rng(4), n_rows, 30, N_CONCEPTS, 12)
    return bits, gather(bits, bits.slots < 15, bits.slots >= 15).fit


@pytest.fixture(scope="module")
def small():
    return world(3000)


def random_claim(rng):
    literals = [int(rng.choice([rng.integers(N_CONCEPTS), TOKENS - rng.integers(3)])) for _ in range(3)]
    literals[int(rng.integers(1, 4)) :] = [NONE] * 3
    joins = [AND, *rng.choice([AND, AND_NOT, OR], 2)]
    sets = np.full((3, 8), -1)
    for row in sets:
        size = int(rng.integers(1, 5))
        row[:size] = rng.choice(12, size, replace=False)
    return np.array(literals[:3]), np.array(joins, dtype=np.int64), sets


def brute(bits, literals, joins, sets):
    held = np.zeros(len(bits), dtype=bool)
    for j, literal in enumerate(literals):
        if literal == NONE:
            break
        members = sets[j][sets[j] >= 0]
        one = bits.mask(literal) if literal >= 0 else np.isin(bits.places[:, TOKENS - literal], members)
        held = one if j == 0 else {AND: held & one, AND_NOT: held & ~one, OR: held | one}[int(joins[j])]
    return held[bits.slots < 15]


@pytest.mark.parametrize("seed", range(60))
def test_few_rows_are_exact(seed, small):
    bits, fit = small
    literals, joins, sets = random_claim(np.random.default_rng(seed))
    expected = brute(bits, literals, joins, sets)
    rows, held = np.arange(len(expected)), np.empty((2, len(expected)), dtype=bool)
    holds(fit, literals, joins, sets, rows, *held)
    assert np.array_equal(held[0], expected)
    for proposes in (True, False):
        into = room()
        n, total = claimed(fit, literals, joins, sets, proposes, into)
        assert np.array_equal(np.sort(into.rows[:n]), np.flatnonzero(expected & (fit.proposes == proposes)))
        assert total == n == into.weights[:n].sum()


def test_many_rows_are_sampled_without_bias():
    bits, fit = world(200_000)
    ratios = []
    for seed in range(60):
        literals, joins, sets = random_claim(np.random.default_rng(seed))
        expected = int((brute(bits, literals, joins, sets) & fit.proposes).sum())
        into = room()
        n, total = claimed(fit, literals, joins, sets, True, into)
        assert n <= KEPT
        assert into.weights[:n].sum() == pytest.approx(total, rel=0.01)
        if expected > 4000:
            ratios.append(total / expected)
    assert len(ratios) > 20
    assert np.abs(np.mean(ratios) - 1) < 0.01 and np.abs(np.array(ratios) - 1).max() < 0.15


def test_counts_over_the_fit_rows(small):
    bits, fit = small
    rows = bits.slots < 15
    masks = np.stack([bits.mask(c)[rows] for c in range(N_CONCEPTS)], axis=1)
    assert np.array_equal(fit.positives, masks[fit.proposes].sum(0))
    for c in range(N_CONCEPTS):
        assert np.array_equal(fit.rows_of[fit.row_starts[c] : fit.row_starts[c + 1]], np.flatnonzero(masks[:, c]))
    for p, tokens in enumerate(bits.places[rows].T):
        assert len(fit.common[p]) == min(COMMON, 12)
        for s in range(12):
            first, last = fit.token_starts[p, s : s + 2]
            assert np.array_equal(fit.token_rows[p, first:last], np.flatnonzero(tokens == s))
            assert fit.counts[p, s] == (tokens == s)[fit.proposes].sum()
