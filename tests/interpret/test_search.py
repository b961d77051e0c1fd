"""The search against brute force. The samples that it draws are larger than these worlds, so its counts are exact."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from interpret_world import indexed, random_bits

from monoscope.interpret.beam import JOIN_COST
from monoscope.interpret.claims import AND, AND_NOT, NONE, OR, TOKENS
from monoscope.interpret.counting import LEAST_ON
from monoscope.interpret.evidence import FOLDS, gather
from monoscope.interpret.search import GAIN, bucketed, search

THRESHOLDS = np.arange(10) / 10
N_CONCEPTS, N_TOKENS = 11, 9


def f1(claim, on):
    return 2 * (claim & on).sum() / max(1, claim.sum() + on.sum())


class World:
    """Features over random concepts and tokens, one for each way of joining; on the fit rows."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.bits = random_bits(rng, 3000, 30, N_CONCEPTS, N_TOKENS)
        fit = self.bits.slots < 15
        self.masks = [self.bits.mask(c)[fit] for c in range(N_CONCEPTS)]
        self.places = self.bits.places[fit]
        m, at = self.masks, self.at
        signals = [
            m[0] & m[1],
            m[2] & ~m[3],
            at(0, 1, 2) & at(1, 3, 4, 5),
            m[4] | at(1, 0),
            (m[5] | at(1, 6, 7)) & ~m[0],
            rng.random(len(m[0])) < 0.2,
        ]
        values = [
            np.where(s, rng.uniform(0.3, 1, len(s)), 0) * (rng.random(len(s)) < 0.9)
            + rng.uniform(0.05, 0.25, len(s)) * (rng.random(len(s)) < 0.1)
            for s in signals
        ]
        entries = [(np.flatnonzero(v), v[v > 0].astype(np.float32)) for v in values]
        self.evidence = gather(self.bits, fit, ~fit)
        self.proposes = self.evidence.fit.proposes
        maxima = np.array([v.max() for _, v in entries], dtype=np.float64)
        index = indexed(entries)
        buckets = bucketed(np.concatenate([v for _, v in entries]), index.offsets, maxima)
        self.found = search(self.evidence.fit, index.offsets, index.rows.astype(np.int64), buckets)
        self.dense = [v.astype(np.float32) / top for v, top in zip(values, maxima, strict=True)]

    def at(self, place, *tokens):
        return np.isin(self.places[:, place], tokens)

    def holds(self, claims, i):
        held = np.zeros(len(self.masks[0]), dtype=bool)
        for j, (literal, join) in enumerate(zip(claims.literals[i], claims.joins[i], strict=True)):
            if literal == NONE:
                break
            members = claims.sets[i, j]
            one = self.masks[literal] if literal >= 0 else self.at(TOKENS - literal, *members[members >= 0])
            held = one if j == 0 else {AND: held & one, AND_NOT: held & ~one, OR: held | one}[join]
        return held


@pytest.fixture(scope="module")
def worlds():
    return [World(seed) for seed in range(3)]


def ons(values, proposes):
    """The on-rows at every threshold that leaves enough of them."""
    share = 1 if proposes.all() else (FOLDS - 1) / FOLDS
    enough = min(LEAST_ON * share, (values > 0)[proposes].sum())
    return [on for t in THRESHOLDS if (on := values > t)[proposes].sum() >= enough]


def test_one_literal_is_no_worse_than_the_concept_that_is_proposed_first(worlds):
    """Among the best on the proposing documents, it is the best on the others."""
    for world in worlds:
        for f, values in enumerate(world.dense):
            p = world.proposes
            scored = [(f1(m[p], on[p]), f1(m[~p], on[~p])) for m in world.masks for on in ons(values, p)]
            assert world.found.chosen[0, f] >= max(scored)[1] - 1e-9


def test_what_is_found_is_what_is_scored(worlds):
    for world in worlds:
        for claims, proposed, chosen in zip(world.found.claims, world.found.proposed, world.found.chosen, strict=True):
            for f, values in enumerate(world.dense):
                if claims.literals[f, 0] == NONE:
                    continue
                claim, on, p = world.holds(claims, f), values > claims.bucket[f] / 10, world.proposes
                assert f1(claim[p], on[p]) == pytest.approx(proposed[f], abs=1e-6)
                assert f1(claim[~p], on[~p]) == pytest.approx(chosen[f], abs=1e-6)


def test_planted_claims_are_found(worlds):
    for world in worlds:
        m = world.masks
        planted = [
            m[0] & m[1],
            m[2] & ~m[3],
            world.at(0, 1, 2) & world.at(1, 3, 4, 5),
            m[4] | world.at(1, 0),
            (m[5] | world.at(1, 6, 7)) & ~m[0],
        ]
        for f, (true, length) in enumerate(zip(planted, (1, 1, 1, 1, 2), strict=True)):
            assert world.found.length[f] == length
            assert f1(world.holds(world.found.claims[length], f), true) > 0.97, f


def test_a_longer_claim_has_to_pay_where_it_did_not_propose(worlds):
    for world in worlds:
        found = world.found
        for f in range(len(world.dense)):
            price = [GAIN * k + JOIN_COST[found.claims[k].joins[f]].sum() for k in range(3)]
            assert found.length[f] == np.argmax(found.chosen[:, f] - price)
        assert found.length[5] == 0  # noise


def test_one_document_in_so_many_chooses(worlds):
    world = worlds[0]
    documents = world.bits.slots[: len(world.proposes)]
    assert not set(documents[world.proposes]) & set(documents[~world.proposes])
    assert len(set(documents[~world.proposes])) == 15 // FOLDS


def test_sets_of_tokens(worlds):
    """The token label is exact among all sets of at most 8 of 9 tokens, on all fit rows."""
    for world in worlds:
        everywhere = np.ones(len(world.proposes), dtype=bool)
        for f, values in enumerate(world.dense[:3]):
            best = max(
                f1(world.at(0, *members), on)
                for size in range(1, 9)
                for members in combinations(range(N_TOKENS), size)
                for on in ons(values, everywhere)[::3]
            )
            found = world.found
            assert found.token_f1[f] >= best - 1e-9
            claim = world.at(0, *found.tokens[f, found.token_bucket[f]])
            assert f1(claim, values > found.token_bucket[f] / 10) == pytest.approx(found.token_f1[f], abs=1e-9)


def test_on_means_strictly_above():
    values = np.array([0.05, 0.5, 0.51, 1.0, 0.0], dtype=np.float32)
    buckets = bucketed(values, np.array([0, 5]), np.array([1.0]))
    assert buckets.tolist() == [0, 4, 5, 9, 255]
