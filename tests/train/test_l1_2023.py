"""The 2023 recipe: unit rows, resampling in its six steps, what inputs are drawn, where the bias begins."""

from __future__ import annotations

import math

import pytest
import torch
from planted import D, data_of, planted, recovered

from monoscope.ops.adam import BETAS
from monoscope.train.fit import Recipe, fit
from monoscope.train.median import geometric_median
from monoscope.train.rows import from_arrays


def test_l1_2023_learns_and_keeps_unit_rows():
    x, directions = planted(60_000)
    found = fit(
        x, 96, "l1_2023", batch_size=500, rate=1e-2, penalty=0.06, sample=5000, n_tokens=300_000, show_progress=False
    )
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(96), rtol=1e-5, atol=1e-5)
    assert recovered(found, directions) > 0.85


def test_resampling_does_its_six_steps():
    """Bar 18: unit decoder row, encoder at 0.2 of the living norm, zero bias, zero Adam moments."""
    data = data_of(4000)
    trainee = Recipe.of("l1_2023", 16, sample=2000, centred_resampling=False).trainee(data)
    d, goal = trainee.dictionary, trainee.objective
    x, y = data.sample
    trainee.step(x[:500], y[:500], 0, 4000)
    for seen in (1000, 1500):  # the step itself drew at 500
        goal.resampling.draw(x[seen : seen + 500], y[seen : seen + 500], seen)
    assert len(goal.resampling.rows) == 16
    kept = goal.resampling.rows[goal.resampling.keys.argsort(descending=True)]
    marked = torch.zeros(16, dtype=torch.bool)
    marked[[2, 9]] = True
    norm = d.w_enc[~marked].norm(dim=1).mean()
    untouched = d.w_enc[~marked].clone()
    goal.resampling.resample(d, trainee, marked)
    torch.testing.assert_close(d.w_dec[marked], torch.nn.functional.normalize(kept[:2, -D:]))
    torch.testing.assert_close(d.w_enc[marked].norm(dim=1), torch.full((2,), float(norm.detach()) * 0.2))
    assert d.b_enc[marked].abs().max() == 0
    assert torch.equal(d.w_enc[~marked], untouched)
    for name in ("w_dec", "w_enc", "b_enc"):
        for moment in trainee.moments[name]:
            assert moment[marked].abs().max() == 0
            assert moment[~marked].abs().max() > 0


def test_after_every_step_rows_are_units_and_no_gradient_along_them_reached_adam():
    """Bar 18: the rest of it. A scalar product of D numbers is off by at most D ε of the lengths."""
    data = data_of(4000)
    trainee = Recipe.of("l1_2023", 16, rate=1e-2, resample_at=()).trainee(data)
    rows, (first, _) = trainee.parameters["w_dec"], trainee.moments["w_dec"]
    raw = []
    rows.register_hook(lambda gradient: raw.append(gradient.clone()))
    bound = D * torch.finfo(torch.float32).eps
    for x, y in data.batches(0):
        before, moment = rows.detach().clone(), first.clone()
        trainee.step(x, y, 0, 4000)
        added = first - BETAS[0] * moment
        reach = first.norm(dim=1) + BETAS[0] * moment.norm(dim=1)
        assert ((added * before).sum(1).abs() <= bound * reach).all()
        assert ((raw[-1] * before).sum(1).abs() > 100 * bound * raw[-1].norm(dim=1)).any()  # there was something along
        assert (rows.detach().norm(dim=1) - 1).abs().max() <= bound


def test_random_resampling_gives_new_weights_and_nothing_else():
    data = data_of(4000)
    trainee = Recipe.of("l1_2023", 16, resample_at=(0.5,), resample_from="initial").trainee(data)
    d, goal = trainee.dictionary, trainee.objective
    x, y = data.sample
    with torch.no_grad():
        d.b_enc[[2, 9]] = -100.0
    for seen in range(0, 1500, 500):
        trainee.step(x[seen : seen + 500], y[seen : seen + 500], seen, 4000)
    marked = goal.silence.dead(1000)
    assert marked[[2, 9]].all() and not marked.all()
    before, bias = {n: p.detach().clone() for n, p in d.named_parameters()}, d.b_enc.detach().clone()
    moments = [m.clone() for pair in trainee.moments.values() for m in pair]
    goal.after_step(d, trainee, x, y, 2000)  # the time of the one resampling
    assert int(goal.resampling.done) == 1 and len(goal.resampling.rows) == 0
    for name in ("w_enc", "w_dec"):
        changed = (getattr(d, name) != before[name]).any(1)
        assert torch.equal(changed, marked), name
    torch.testing.assert_close(d.w_dec.norm(dim=1), torch.ones(16))
    assert d.w_enc[marked].abs().max() <= (6 / D) ** 0.5
    assert torch.equal(d.b_enc, bias)
    assert all(torch.equal(a, b) for a, b in zip(moments, [m for pair in trainee.moments.values() for m in pair]))


def test_inputs_are_drawn_in_proportion_to_squared_loss():
    data = data_of(2000)
    trainee = Recipe.of("l1_2023", 4).trainee(data)
    goal = trainee.objective
    x = torch.zeros(2, D)
    x[0, 0], x[1, 0] = 1.0, 2**0.25  # losses 1 and √2: squared 1 and 2
    goal.resampling.errors = x.norm(dim=1).square()  # a step that explained nothing
    first = 0
    for seen in range(600):
        goal.resampling.keys, goal.resampling.rows = goal.resampling.keys[:0], goal.resampling.rows[:0]
        goal.resampling.draw(x, x, seen)
        first += int(goal.resampling.rows[goal.resampling.keys.argmax(), 0] > 1.1)
    assert abs(first / 600 - 2 / 3) < 4 * math.sqrt(2 / 9 / 600)


@pytest.mark.parametrize("width", [3, D])
def test_a_transcoder_is_resampled_from_inputs_and_their_targets(width):
    """Of an autoencoder's sample each row is held once. The decoder's bias is of targets, also of the inputs' width."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2000, D, generator=generator), torch.randn(2000, width, generator=generator) + 3
    trainee = Recipe.of("l1_2023", 16).trainee(from_arrays(x, y, 500, 2000, 0, hold_back=False))
    d, goal = trainee.dictionary, trainee.objective
    d.b_dec.data += 3
    goal.resampling.errors = torch.rand(500, generator=generator)
    goal.resampling.draw(x[:500], y[:500], 0)
    assert goal.resampling.rows.shape == (16, D + width)
    assert all(((x == row[:D]).all(1) & (y == row[D:]).all(1)).any() for row in goal.resampling.rows)
    kept = goal.resampling.rows[goal.resampling.keys.argmax()]
    marked = torch.zeros(16, dtype=torch.bool)
    marked[5] = True
    goal.resampling.resample(d, trainee, marked)
    normalised = torch.nn.functional.normalize
    torch.testing.assert_close(normalised(d.w_enc[5], dim=0), normalised(kept[:D], dim=0))
    torch.testing.assert_close(d.w_dec[5], normalised(kept[D:] - d.b_dec, dim=0))
    goal.resampling.draw(x[:500], x[:500], 0)
    assert goal.resampling.rows.shape == (16, D)


def test_the_geometric_median_is_not_the_mean():
    x = torch.zeros(101, 3)
    x[100] = 1000.0
    assert float(geometric_median(x).norm()) < 1e-2
