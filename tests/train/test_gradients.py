"""What becomes of gradients before Adam has them: laws over every architecture in the folder."""

from __future__ import annotations

import math

import pytest
import torch
from planted import D, data_of

from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.train.fit import Recipe
from monoscope.train.gradients import Gradients


def stepped(name: str, steps: int = 1, **options):
    """A trainee after some steps on planted rows, at a rate that can be seen."""
    data = data_of(2000)
    settings = {"k": 4} if "k" in architecture(name).settings else {}
    trainee = Recipe.of(name, 32, rate=1e-2, warmup=0.0, **settings, **options).trainee(data)
    x = data.sample[0] - data.sample[0].mean(0)
    for step in range(steps):
        trainee.step(x[:500], x[:500], 500 * step, 2000)
    return trainee


def length(trainee) -> float:
    """Of the gradients that Adam had in its only step."""
    kept = 1 - trainee.objective.betas[0]
    return math.sqrt(sum(float(first.square().sum()) for first, _ in trainee.moments.values())) / kept


@pytest.mark.parametrize("name", architectures())
def test_gradients_are_no_longer_than_they_may_be(name):
    free = length(stepped(name, clip=0.0))
    assert length(stepped(name, clip=free / 8)) == pytest.approx(free / 8, rel=0.3)  # less what is along unit rows
    assert length(stepped(name, clip=free / 8)) <= 1.0001 * free / 8
    assert 2 * length(stepped(name, clip=free / 16)) == pytest.approx(length(stepped(name, clip=free / 8)), rel=1e-5)
    assert length(stepped(name, clip=100 * free)) == pytest.approx(free, rel=1e-5)
    assert length(stepped(name, clip=0.0, loss_per="row")) == pytest.approx(D * free, rel=1e-5)


@pytest.mark.parametrize("name", architectures())
def test_a_loss_per_row_is_one_per_number_in_other_units(name):
    """With both told in its units, so that each of them matters, all weights are the same."""
    number = stepped(name, 3, clip=0.01, epsilon=1e-3)
    row = stepped(name, 3, clip=0.01 * D, epsilon=1e-3 * D, loss_per="row")
    other = stepped(name, 3, clip=0.01, epsilon=1e-3 * D)
    for parameter, p in number.dictionary.named_parameters():
        torch.testing.assert_close(row.dictionary.get_parameter(parameter), p, rtol=1e-4, atol=1e-5)
    assert (other.dictionary.w_dec - number.dictionary.w_dec).abs().max() > 1e-4


def test_a_norm_is_brought_down_to_the_largest_there_may_be():
    norm = torch.tensor(4.0)
    assert [Gradients(clip).scale(norm, 16) for clip in (0.0, 1.0, 8.0)] == [1.0, 0.25, 1.0]
    assert [Gradients(clip, loss_per="row").scale(norm, 16) for clip in (0.0, 1.0, 128.0)] == [16.0, 0.25, 16.0]
    assert Gradients(loss_per="row").scale(torch.tensor(0.0), 16) == 16.0


@pytest.mark.parametrize("told", [{"clip": -1.0}, {"epsilon": 0.0}, {"loss_per": "batch"}])
def test_nonsense_is_refused(told):
    with pytest.raises(MonoscopeError, match=f"{next(iter(told))} of topk is .*"):
        Recipe.of("topk", 16, **told)
