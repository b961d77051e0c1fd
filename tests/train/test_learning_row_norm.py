"""Trainings on rows that are each normalised by themselves, by every objective: as on rows normalised before."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from planted import planted
from torch import Tensor

from monoscope.dictionary.base import Dictionary, architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.ops.row_norm import normed
from monoscope.train import presets, rows
from monoscope.train.fit import Recipe, fit, known_options
from monoscope.train.loop import Keeping, train

HOW = {"n_features": 32, "k": 4, "batch_size": 500, "show_progress": False}


def uneven(n: int) -> Tensor:
    """Planted rows, some ten times as long as others, each with an offset of its own."""
    lengths, offsets = torch.rand(2, n, 1, generator=torch.Generator().manual_seed(4))
    return planted(n)[0] * (0.2 + 2 * lengths) + 5 * offsets


def same(a: Dictionary, b: Dictionary) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", architectures())
def test_what_is_learned_is_what_is_learned_of_normalised_rows(name):
    x = uneven(4000)
    found, wanted = (fit(data, architecture=name, **HOW, **options) for data, options in (
        (x, {"row_norm": True}), (normed(x).rows, {}),
    ))  # fmt: skip
    assert found.row_norm and not wanted.row_norm and same(found, wanted)
    seen = normed(x[:300])
    torch.testing.assert_close(found(x[:300]), wanted(seen.rows) * seen.spread + seen.mean, rtol=1e-4, atol=1e-5)
    held = seen.spread[:, 0] > 0  # a row without spread has nothing of which features could be
    code, other = found.encode(x[:300][held]), wanted.encode(seen.rows[held])
    assert torch.equal(code.offsets, other.offsets) and torch.equal(code.indices, other.indices)
    assert len(code.indices) > 0 and 0 < int((~held).sum()) < 10
    assert len(found.encode(x[:300][~held]).indices) == 0


def test_blocks_are_normalised_as_arrays_are():
    x = uneven(4000)
    found, wanted = (fit(iter(data.split(700)), n_tokens=3500, architecture="batch_topk", **HOW, **options) for
        data, options in ((x, {"row_norm": True}), (normed(x).rows, {})))  # fmt: skip
    assert found.row_norm and same(found, wanted)


def test_trainings_with_and_without_share_a_pass():
    data = rows.from_arrays(uneven(4000), None, 500, None, 0, hold_back=True)
    recipes = {on: Recipe.of("batch_topk", 32, k=4, row_norm=on) for on in (False, True)}
    both = train(data, {str(on): recipe.trainee(data) for on, recipe in recipes.items()})
    for on, recipe in recipes.items():
        alone = train(data, {"main": recipe.trainee(data)})["main"]
        assert same(both[str(on)], alone) and both[str(on)].row_norm is alone.row_norm is on


def test_resume_is_bit_for_bit(tmp_path):
    data = rows.from_arrays(uneven(4000), None, 500, None, 0, hold_back=True)
    recipe = Recipe.of("batch_topk", 32, k=4, row_norm=True)
    whole = train(data, {"main": recipe.trainee(data)})["main"]

    def broken(start: int):
        yield from islice(data.batches(start), 3)
        raise KeyboardInterrupt

    keeping = Keeping(tmp_path, every_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        train(replace(data, batches=broken), {"main": recipe.trainee(data)}, keeping=keeping)
    resumed = train(data, {"main": recipe.trainee(data)}, keeping=keeping)["main"]
    assert resumed.row_norm and same(whole, resumed)


def test_the_preset_of_those_who_do_it_does_it():
    assert presets.recipe("openai-topk-2024", 32).normalising.row_norm
    assert not presets.recipe("default", 32).normalising.row_norm


def test_long_rows_count_no_more_than_short_ones():
    """Where lengths vary and directions do not depend on them, more of the short rows is explained."""
    x = uneven(20_000)
    short = x[normed(x).spread[:, 0] < normed(x).spread.median() / 2]
    left = {
        on: float((short - made(short)).square().sum())
        for on in (False, True)
        for made in [fit(x, architecture="topk", row_norm=on, **HOW)]
    }
    assert left[True] < 0.7 * left[False]


@pytest.mark.parametrize("name", [n for n in architectures() if architecture(n).own_encoder])
def test_another_target_is_refused(name):
    x = uneven(1000)
    with pytest.raises(MonoscopeError, match="what is reconstructed, not another target") as error:
        fit(x, architecture=name, target=x.clone(), row_norm=True, **HOW)
    assert "row_norm=false" in error.value.fix


def test_values_that_are_no_switch_are_refused():
    with pytest.raises(MonoscopeError, match="row_norm"):
        fit(uneven(1000), row_norm=2, **HOW)
    assert known_options("topk", {"row_norm": True}) == {}  # no objective's business
