"""Trying labels on held-out rows: counts against brute force, intervals against a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from interpret_world import random_bits

from monoscope.interpret.claims import AND, AND_NOT, NONE, OR, TOKENS, Claims
from monoscope.interpret.evidence import gather
from monoscope.interpret.trial import Tally, judge, tally


def test_counts_per_document():
    rng = np.random.default_rng(0)
    bits = random_bits(rng, 4000, 40, 70, 12)
    test = bits.slots >= 20
    evidence = gather(bits, ~test, test)
    n = int(test.sum())
    masks = {c: bits.mask(c)[test] for c in range(70)}
    sets = np.full((6, 3, 8), -1)
    sets[2, 0, :3] = sets[3, 1, :3] = [1, 4, 7]
    sets[3, 0, :2], sets[5, 2, :1] = [2, 3], [5]
    claims = Claims(
        np.array(
            [
                [66, NONE, NONE],
                [3, 65, 8],
                [TOKENS, NONE, NONE],
                [TOKENS, TOKENS - 1, 5],
                [NONE, NONE, NONE],
                [10, 11, TOKENS - 2],
            ]
        ),
        np.array([[AND] * 3, [AND, AND_NOT, AND], [AND] * 3, [AND, AND, OR], [AND] * 3, [AND, OR, AND_NOT]]),
        sets,
        np.array([0, 5, 3, 9, 0, 2]),
    )
    at = bits.places[test].T
    expected = [
        masks[66],
        masks[3] & ~masks[65] & masks[8],
        np.isin(at[0], [1, 4, 7]),
        (np.isin(at[0], [2, 3]) & np.isin(at[1], [1, 4, 7])) | masks[5],
        np.zeros(n, dtype=bool),
        (masks[10] | masks[11]) & (at[2] != 5),
    ]
    rows = [np.flatnonzero(rng.random(n) < 0.3) for _ in expected]
    buckets = [rng.integers(0, 10, len(r)).astype(np.uint8) for r in rows]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    counts = tally(evidence.test, claims, offsets, np.concatenate(rows), np.concatenate(buckets))
    documents = bits.slots[test] - 20
    for i, claim in enumerate(expected):
        on = np.zeros(n, dtype=bool)
        on[rows[i][buckets[i] >= claims.bucket[i]]] = True
        for part, mask in zip(counts, (claim & on, on, claim), strict=True):
            assert np.array_equal(part[i], np.bincount(documents[mask], minlength=20))
    verdict = judge(counts, seed=0)
    on = np.isin(np.arange(n), rows[0])
    assert verdict.precision[0] == pytest.approx((masks[66] & on).sum() / masks[66].sum())
    assert verdict.recall[0] == pytest.approx((masks[66] & on).sum() / on.sum())
    assert verdict.f1[0] == pytest.approx(2 * (masks[66] & on).sum() / (masks[66].sum() + on.sum()))
    assert verdict.f1[4] == verdict.precision[4] == 0
    assert (verdict.low <= verdict.f1 + 1e-6).all()
    assert (verdict.f1 <= verdict.high + 1e-6).all()


def test_intervals_cover():
    """600 labels with the same true F1 over 80 documents that differ: 95 % intervals hold it about that often."""
    rng = np.random.default_rng(1)

    def draw(n, documents):
        size = rng.poisson(40, (n, documents)) + 1
        recall, precision = rng.beta(6, 3, (n, documents)), rng.beta(5, 2, (n, documents))
        hits = rng.binomial(size, recall)
        return Tally(*(a.astype(np.float32) for a in (hits, size, np.round(hits / np.maximum(precision, 0.05)))))

    huge = draw(1, 400_000)
    truth = 2 * huge.hits.sum(dtype=float) / (huge.on.sum(dtype=float) + huge.claimed.sum(dtype=float))
    verdict = judge(draw(600, 80), seed=0)
    covered = ((verdict.low <= truth) & (truth <= verdict.high)).mean()
    assert 0.90 <= covered <= 0.98


def test_the_same_seed_gives_the_same_interval():
    counts = Tally(*(np.random.default_rng(i).integers(1, 9, (3, 20)).astype(np.float32) for i in range(3)))
    assert np.array_equal(judge(counts, 4).low, judge(counts, 4).low)
    assert not np.array_equal(judge(counts, 4).low, judge(counts, 5).low)
