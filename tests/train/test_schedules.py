"""What changes in the course of a training, and how fast: rates, scales, a k that falls."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted import data_of, planted

from monoscope.errors import MonoscopeError
from monoscope.train import rows, schedules
from monoscope.train.fit import Recipe, fit
from monoscope.train.objective import RATE
from monoscope.train.presets import PLAIN
from monoscope.train.schedules import Schedule


@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_k_begins_wide_and_ends_as_asked(name):
    data = data_of()
    goal = Recipe.of(name, 96, k=4, k_start=3.0, k_until=0.5).trainee(data)
    x, y = next(iter(data.batches(0)))
    for progress, k in ((0.0, 12), (0.25, 8), (0.5, 4), (0.9, 4)):
        goal.objective.losses(goal.dictionary, x, y, progress)
        assert goal.objective.l0 == pytest.approx(k, abs=0.2)
    found = fit(planted(20_000)[0], 96, name, k=4, k_start=3.0, batch_size=500, show_progress=False)
    assert found.options() == {"k": 4}


@pytest.mark.parametrize("name", ["batch_topk", "matryoshka"])
def test_a_selection_across_rows_begins_as_topk(name):
    x = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 2, 200)[:, None]
    data = rows.from_arrays(x, None, 100, None, 0, hold_back=False)
    options = ({}, {"topk_until": 0.0}, {"k": 32})
    usual, told, many = (Recipe.of(name, 64, **{"k": 4, **given}).trainee(data) for given in options)
    assert many.objective.topk_until(many.dictionary) == 0
    scores = x @ usual.dictionary.w_enc.T + usual.dictionary.b_enc
    for trainee, progress, by_row in ((usual, 0.0, True), (usual, 0.49, True), (usual, 0.5, False), (told, 0.0, False)):
        trainee.objective.precision = lambda: torch.float32
        trainee.objective.progress = progress
        code = trainee.objective.select(trainee.dictionary, x)
        cut = scores.topk(4).values.min(1).values if by_row else scores.flatten().topk(800).values.min().expand(200)
        assert code.offsets.diff().tolist() == (scores >= cut[:, None]).sum(1).tolist()
        assert len(code.indices) == 800


def test_schedules_warm_up_and_decay():
    s = Schedule(2.0, warmup=0.1, decay=0.2)
    assert [s.at(p) for p in (0, 0.05, 0.1, 0.5, 0.8, 0.9, 1)] == pytest.approx([0, 1, 2, 2, 2, 1, 0])
    with pytest.raises(MonoscopeError, match="add up"):
        Schedule(1.0, 0.6, 0.6)


def test_a_warm_up_may_be_half_a_wave_from_a_tenth():
    s = Schedule(2.0, warmup=0.5, decay=0.2, warmup_shape="cosine")
    quarter = 2 * (1 - 0.9 * (1 + 0.5**0.5) / 2)
    assert [s.at(p) for p in (0, 0.125, 0.25, 0.5, 0.7, 0.9)] == pytest.approx([0.2, quarter, 1.1, 2, 2, 1])
    assert Recipe.of("topk", 16, warmup_shape="cosine").schedule.warmup_shape == "cosine"
    with pytest.raises(MonoscopeError, match="shape of a warm-up"):
        Recipe.of("topk", 16, warmup_shape="cosin")


@given(st.integers(1, 100_000_000))
def test_the_usual_batch_grows_with_the_root_of_the_rows(n):
    size = schedules.usual_batch(n)
    assert size & (size - 1) == 0 and 256 <= size <= 4096
    assert size == 4096 or 1.3 * n < 2.001 * size**2  # nearest: within a factor of √2
    assert size == 256 or 1.3 * n > 0.499 * size**2
    assert schedules.usual_batch(n + 1) >= size


@given(st.integers(10, 10**12), st.sampled_from([256, 1024, 4096]))
def test_usual_silence_is_a_small_part_of_a_training_and_grows_with_it(n, batch):
    rows = schedules.usual_silence(n, batch)
    assert 0 < rows <= min(10_000_000, n / 10)
    assert rows >= min(20 * batch, 20_000, n // 10)
    assert schedules.usual_silence(n + 1, batch) >= rows <= schedules.usual_silence(n, batch + 1)


def test_usual_silence_is_the_objectives_unless_it_is_told_another():
    lengths = (100_000, 256), (400_000, 512), (800_000, 1024), (800_000, 4096), (2_000_000, 2048), (10**9, 4096)
    expected = [10_000, 20_000, 20_480, 80_000, 50_000, 10_000_000]
    assert [schedules.usual_silence(*length) for length in lengths] == expected
    data = rows.from_arrays(torch.randn(2000, 8), None, 100, 400_000, 0, hold_back=False)
    assert Recipe.of("topk", 16, k=2).trainee(data).objective.dead_after(100) == 20_000
    assert Recipe.of("topk", 16, k=2, dead_after=7).trainee(data).objective.dead_after(100) == 7


def test_rows_that_are_told_no_batch_have_the_usual_one():
    x, blocks = torch.randn(3000, 8), [torch.randn(1000, 8)] * 3
    assert rows.from_arrays(x, None, None, None, 0, hold_back=False).batch_size == 256
    assert rows.from_arrays(x, None, None, 600_000, 0, hold_back=False).batch_size == 1024
    assert [schedules.usual_batch(n) for n in (400_000, 410_000, 2_000_000, 6_500_000)] == [512, 1024, 2048, 4096]
    assert rows.from_blocks(blocks, None, None, 2500, hold_back=False).batch_size == 256
    assert rows.from_blocks(blocks, None, 100, 2500, hold_back=False).batch_size == 100
    for wrong in (0, -5):
        with pytest.raises(MonoscopeError, match=f"a batch of {wrong} rows"):
            rows.from_arrays(x, None, wrong, None, 0, hold_back=False)
        with pytest.raises(MonoscopeError, match="leave it out"):
            rows.from_blocks(blocks, None, wrong, 2500, hold_back=False)


def test_the_usual_rate_falls_with_steps_and_features_and_gives_way_to_what_is_told():
    data = rows.from_arrays(torch.randn(2000, 8), None, 100, None, 0, hold_back=False)
    names = ("topk", "l1", "l1_2023", "matching_pursuit", "nonnegative_pursuit")
    of = {name: Recipe.of(name, 16, k=2).trainee(data).schedule.rate for name in names}
    assert of["topk"] == of["l1"] == schedules.usual_rate(20, 16) == schedules.RATE
    assert of["nonnegative_pursuit"] < of["topk"] < of["matching_pursuit"]
    assert of["l1_2023"] == RATE
    assert Recipe.of("topk", 16, k=2, rate=1e-3).trainee(data).schedule.rate == 1e-3
    rates = [schedules.usual_rate(*at) for at in ((200, 3072), (1600, 3072), (200, 12_288), (1600, 12_288))]
    assert rates == pytest.approx([6e-3, 3e-3, 3e-3, 1.5e-3])


@pytest.mark.parametrize("name", ["topk", "jumprelu", "gated", "l1", "p_anneal"])
def test_every_descent_is_told_by_the_same_options(name: str):
    data = rows.from_arrays(torch.randn(2000, 16), None, 100, None, 0, hold_back=False)
    usual = Recipe.of(name, 16, k=2).trainee(data)
    assert (usual.objective.betas, usual.objective.rate_of("w_dec", usual.dictionary)) == ((0.8, 0.99), 2.0)
    assert (
        usual.objective.rate_of("b_enc", usual.dictionary) == usual.objective.rate_of("b_dec", usual.dictionary) == 2.0
    )
    told = Recipe.of(name, 16, k=2, **PLAIN).trainee(data)
    assert told.objective.betas == (0.9, 0.999)
    assert {told.objective.rate_of(n, told.dictionary) for n in ("w_enc", "w_dec", "b_enc", "b_dec")} == {1.0}


def test_encoder_scale_and_rates_do_what_they_say():
    data = rows.from_arrays(torch.randn(2000, 9), None, 100, None, 0, hold_back=False)
    trainee = Recipe.of("topk", 16, k=2, encoder_scale=0.25).trainee(data)
    assert torch.equal(trainee.dictionary.w_enc, trainee.dictionary.w_dec / 4)
    goal = trainee.objective
    assert [goal.rate_of(n, trainee.dictionary) for n in ("w_enc", "w_dec", "b_enc")] == [1.0, 2.0, 1.5]
    plain = Recipe.of("topk", 16, k=2, decoder_rate=1.0, bias_rate=1.0, beta1=0.9, beta2=0.999).trainee(data).objective
    assert plain.betas == (0.9, 0.999)
    assert plain.rate_of("b_dec", trainee.dictionary) == plain.rate_of("w_dec", trainee.dictionary) == 1.0
