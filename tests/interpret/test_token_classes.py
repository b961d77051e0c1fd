"""Classes of tokens: planted ones are found exactly, random directions have none, areas equal brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope.concepts import concept
from monoscope.interpret import token_classes
from monoscope.interpret.judges.concept import _alone
from monoscope.interpret.scorers import _measures as measures
from monoscope.interpret.token_classes import NONE, choose, classes, judge, outstanding, ranks

RNG = np.random.default_rng(3)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MADE = [
    *(f"{space}{''.join(RNG.choice(list(LETTERS), 2 + i % 6))}" for i in range(300) for space in ("", " ")),
    *(f"{space}{''.join(RNG.choice(list(LETTERS), 3 + i % 4))}".title() for i in range(80) for space in ("", " ")),
    *(f"{space}{n}" for n in range(60) for space in ("", " ")),
    *("".join(RNG.choice(list("+-*/()[]{}.,:;"), 1 + i % 3)) for i in range(200)),
    *(chr(0x3B1 + i) for i in range(24)),
]
SPELLINGS = [s.encode() for s in dict.fromkeys(MADE)]
CLASSES = classes(SPELLINGS, 0)
PLANTED = ["digits", "punctuation", "script_greek", "title_case & starts_with_space", "lower_case & starts_with_space"]


def mask(expression: str) -> np.ndarray:
    return np.array([concept(expression).mask(_alone(s.decode()))[0] for s in SPELLINGS])


def test_every_class_is_its_expression_and_each_is_there_once() -> None:
    assert len(CLASSES) > 40 and len(set(CLASSES.words)) == len(CLASSES)
    for i, expression in enumerate(CLASSES.expressions):
        assert np.array_equal(CLASSES.members[:, i], mask(expression)), expression
    assert len({column.tobytes() for column in CLASSES.members.T}) == len(CLASSES)
    for half in (CLASSES.chooses, ~CLASSES.chooses):
        inside = CLASSES.members[half].sum(0)
        assert inside.min() >= token_classes.LEAST <= half.sum() - inside.max()


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_class_is_found_exactly_and_judged_on_other_tokens(planted: str) -> None:
    rng = np.random.default_rng(1)
    true = mask(planted)
    effects = rng.standard_normal((8, len(SPELLINGS))).astype(np.float32) + 4 * true
    for row, number in zip(effects, choose(effects, CLASSES), strict=True):
        assert np.array_equal(CLASSES.members[:, number], true)
        told = judge(ranks(row[None, ~CLASSES.chooses])[0], CLASSES.members[~CLASSES.chooses, number])
        assert 0.95 < told.low <= told.value <= told.high <= 1
    # what judges does not choose
    other = np.where(CLASSES.chooses, effects, -effects)
    assert np.array_equal(choose(other, CLASSES), choose(effects, CLASSES))


def test_random_directions_raise_no_class() -> None:
    effects = np.random.default_rng(2).standard_normal((400, len(SPELLINGS))).astype(np.float32)
    assert (choose(effects, CLASSES) != NONE).sum() <= 1
    assert sum(bool(outstanding(row)) for row in effects) <= 2
    number = list(CLASSES.expressions).index("digits")
    found = [judge(r, CLASSES.members[~CLASSES.chooses, number]) for r in ranks(effects[:, ~CLASSES.chooses])]
    covered = np.mean([e.low <= 0.5 <= e.high for e in found])
    assert 0.9 < covered < 0.99  # of 95 %, give or take four standard errors of 400 draws


@given(st.integers(0, 10**6), st.integers(3, 20), st.integers(3, 20), st.floats(-3, 3))
def test_the_area_is_that_of_all_pairs(seed: int, inside: int, outside: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    members = rng.permutation(np.arange(inside + outside) < inside)
    values = rng.standard_normal(len(members)) + shift * members
    told = judge(ranks(values[None])[0], members)
    assert told.value == pytest.approx((values[members][:, None] > values[~members]).mean(), abs=1e-12)
    assert 0 <= told.low <= told.value <= told.high <= 1


def test_the_interval_is_what_resampling_tokens_gives() -> None:
    rng = np.random.default_rng(4)
    members = np.arange(400) < 120
    values = rng.standard_normal(400) + 0.8 * members
    told, drawn = judge(ranks(values[None])[0], members), measures.auc(members, values)
    other = measures.estimate(drawn, np.arange(400), 0)
    assert told.value == pytest.approx(other.value)
    assert told.high - told.low == pytest.approx(other.high - other.low, rel=0.15)  # 400 resamples of a quantile


def test_tokens_that_stand_out_are_named_the_strongest_first() -> None:
    effects = np.random.default_rng(5).standard_normal(2000)
    effects[[7, 9, 3]] = 12, 20, 9
    assert outstanding(effects) == [9, 7, 3]
    effects[100:120] = 50
    assert outstanding(effects) == []  # twenty are no few tokens
    assert outstanding(np.zeros(50)) == [] and outstanding(np.ones(3)) == []


def test_a_vocabulary_too_small_for_classes_has_none() -> None:
    few = classes(SPELLINGS[:10], 0)
    assert len(few) == 0 and choose(np.ones((2, 10), np.float32), few).tolist() == [NONE, NONE]
