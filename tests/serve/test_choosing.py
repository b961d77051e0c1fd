"""Choosing tokens: the likeliest, draws with the right frequencies, seeds, nucleus, log-probabilities."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.serve.choosing import Draw, choose, logprobs
from monoscope.serve.wanted import Wanted


def draw(seed: int = 0, choice: int = 0, **more: float) -> Draw:
    return Draw.of(Wanted((1,), 1, seed=seed, **more), choice)  # type: ignore[arg-type]


def logits(n: int, vocabulary: int = 7, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(n, vocabulary, generator=torch.Generator().manual_seed(seed))


def test_temperature_zero_takes_the_likeliest_and_draws_no_number() -> None:
    found, one = logits(5), draw(temperature=0.0)
    assert choose(found, [one] * 5) == found.argmax(1).tolist()
    assert one.numbers.random() == random.Random("0/0").random()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax(temperature: float) -> None:
    row, n = logits(1), 4_000
    found = torch.tensor(choose(row.expand(n, -1), [draw(i, temperature=temperature) for i in range(n)]))
    wanted = torch.softmax(row[0].double() / temperature, 0)
    shares = found.bincount(minlength=7) / n
    assert ((shares - wanted).abs() < 4 * (wanted * (1 - wanted) / n).sqrt() + 1e-3).all()


@settings(max_examples=40)
@given(st.floats(0.05, 0.99), st.integers(0, 50))
def test_the_nucleus_is_the_smallest_set_that_reaches_the_share(share: float, seed: int) -> None:
    row = logits(1, seed=seed)
    likely, order = torch.softmax(row[0].double(), 0).sort(descending=True)
    before = likely.cumsum(0) - likely
    allowed = set(order[before < share].tolist())
    found = set(choose(row.expand(80, -1), [draw(i, temperature=1.0, top_p=share) for i in range(80)]))
    assert found <= allowed and int(order[0]) in found


@settings(max_examples=40)
@given(st.integers(0, 2**63 - 1), st.integers(1, 6))
def test_what_is_drawn_depends_on_the_row_alone(seed: int, place: int) -> None:
    rows = logits(8)
    others = [draw(i, temperature=1.0) for i in range(8)]
    others[place] = draw(seed, temperature=0.9, top_p=0.8)
    alone = choose(rows[place : place + 1], [draw(seed, temperature=0.9, top_p=0.8)])
    assert choose(rows, others)[place] == alone[0]


def test_choices_draw_from_generators_of_their_own() -> None:
    first = [draw(3, choice).numbers.random() for choice in range(20)]
    assert len(set(first)) == 20 and first == [draw(3, choice).numbers.random() for choice in range(20)]


def test_tiny_temperatures_do_not_overflow() -> None:
    found = logits(4) * 1e4
    assert choose(found, [draw(i, temperature=1e-6) for i in range(4)]) == found.argmax(1).tolist()


def test_logprobs_are_those_at_temperature_one() -> None:
    rows = logits(3)
    found = logprobs(rows, [0, 1, 2], [2, None, 0])
    wanted = torch.log_softmax(rows, 1)
    assert found[1] is None and found[0] is not None and found[2] is not None and found[2].top == ()
    assert found[0].value == pytest.approx(float(wanted[0, 0]))
    best = wanted[0].topk(2)
    assert [t for t, _ in found[0].top] == best.indices.tolist()
    assert [v for _, v in found[0].top] == pytest.approx(best.values.tolist())
