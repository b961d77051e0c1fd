"""The search against brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from interpret_world import indexed, random_bits

from monoscope.interpret.evidence import gather
from monoscope.interpret.search import GAIN, LEAST_ON, NEGATION, NONE, TOKENS, bucketed, search

THRESHOLDS = np.arange(10) / 10


def f1(claim, on):
    return 2 * (claim & on).sum() / max(1, claim.sum() + on.sum())


def case(seed, n_concepts=11, n_tokens=9):
    """Three features over random concepts: a pair, a negated pair, noise; on the fit rows."""
    rng = np.random.default_rng(seed)
    bits = random_bits(rng, 3000, 30, n_concepts, n_tokens)
    fit = bits.slots < 15
    masks = [bits.mask(c)[fit] for c in range(n_concepts)]
    n = int(fit.sum())
    signals = [masks[0] & masks[1], masks[2] & ~masks[3], rng.random(n) < 0.2]
    values = [np.where(s, rng.uniform(0.3, 1, n), 0) * (rng.random(n) < 0.8) + rng.uniform(0, 0.3, n) for s in signals]
    entries = [(np.flatnonzero(v > 0.1), v[v > 0.1].astype(np.float32)) for v in values]
    evidence = gather(bits, fit, ~fit)
    index = indexed(entries)
    flat = np.concatenate([v for _, v in entries])
    maxima = np.array([v.max() for _, v in entries], dtype=np.float64)
    buckets = bucketed(flat, index.offsets, maxima)
    found = search(evidence.fit, index.offsets, index.rows.astype(np.int64), buckets)
    dense = []
    for (rows, v), top in zip(entries, maxima, strict=True):
        dense.append(np.zeros(n))
        dense[-1][rows] = v / top
    return evidence, bits, fit, masks, dense, found


def ons(dense):
    """The on-rows at every threshold that leaves enough of them."""
    return [dense > t for t in THRESHOLDS if (dense > t).sum() >= min(LEAST_ON, (dense > 0).sum())]


@pytest.mark.parametrize("seed", range(4))
def test_concepts(seed):
    _, bits, fit, masks, dense, found = case(seed)
    for f, values in enumerate(dense):
        best = max(f1(m, on) for m in masks for on in ons(values))
        tokens = bits.spellings[fit]
        chosen = np.isin(tokens, found.tokens[f, found.token_bucket[f]])
        # Adjusted F1 of every pair: what it reaches, less what a negation costs.
        pairs = max(
            f1(base & (~other if negated else other), on) - NEGATION * negated
            for i, base in enumerate([*masks, chosen])
            for d, other in enumerate(masks)
            for negated in (False, True)
            for on in ons(values)
            if i != d
            if i < len(masks)
            or f1(chosen & (~other if negated else other), on) - NEGATION * negated > found.token_f1[f] + GAIN
        )
        cost = NEGATION * (found.second[f] < NONE)
        expected = pairs + cost if pairs > best + GAIN else best
        assert found.f1[f] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_is_what_is_scored(seed):
    _, bits, fit, masks, dense, found = case(seed)
    for f, values in enumerate(dense):
        first, second = found.first[f], found.second[f]
        tokens = found.tokens[f, found.token_bucket[f]]
        claim = np.isin(bits.spellings[fit], tokens) if first == TOKENS else masks[first]
        if second != NONE:
            claim = claim & (masks[second] if second >= 0 else ~masks[-3 - second])
        assert f1(claim, values > found.bucket[f] / 10) == pytest.approx(found.f1[f], abs=1e-9)


def test_the_planted_pairs_are_found():
    *_, found = case(0)
    assert {found.first[0], found.second[0]} == {0, 1}
    assert (found.first[1], found.second[1]) == (2, -3 - 3)


@pytest.mark.parametrize("seed", range(3))
def test_sets_of_tokens(seed):
    """Exact among all sets of at most 8 of 10 tokens."""
    _, bits, fit, _, dense, found = case(seed, n_tokens=10)
    tokens = bits.spellings[fit]
    for f, values in enumerate(dense):
        best = max(
            f1(np.isin(tokens, chosen), on)
            for size in range(1, 9)
            for chosen in combinations(range(10), size)
            for on in ons(values)[::3]
        )
        assert found.token_f1[f] >= best - 1e-9
        claim = np.isin(tokens, found.tokens[f, found.token_bucket[f]])
        assert f1(claim, values > found.token_bucket[f] / 10) == pytest.approx(found.token_f1[f], abs=1e-9)


def test_counts_over_the_fit_rows():
    evidence, bits, fit, masks, *_ = case(5, n_concepts=70)
    dense = np.stack(masks, axis=1).astype(np.int64)
    tokens = np.eye(len(bits.lexicon), dtype=np.int64)[bits.spellings[fit]]
    assert np.array_equal(evidence.fit.positives, dense.sum(0))
    assert np.array_equal(evidence.fit.both, dense.T @ dense)
    assert np.array_equal(evidence.fit.token_concepts, tokens.T @ dense)
    assert np.array_equal(evidence.fit.token_counts, tokens.sum(0))


def test_on_means_strictly_above():
    values = np.array([0.05, 0.5, 0.51, 1.0, 0.0], dtype=np.float32)
    buckets = bucketed(values, np.array([0, 5]), np.array([1.0]))
    assert buckets.tolist() == [0, 4, 5, 9, 255]
