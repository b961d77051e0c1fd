"""Presets: every file trains, says where it comes from, and is what its name promises."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
import torch

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.train import fit, presets, rows
from monoscope.train.fit import Recipe
from monoscope.train.loop import train
from monoscope.train.presets import PACKAGE
from monoscope.train.trainee import Normalising


def planted(n: int) -> torch.Tensor:
    """Rows made of few of 32 directions."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(32, 16, generator=generator))
    return ((torch.rand(n, 32, generator=generator) < 0.06) * torch.rand(n, 32, generator=generator)) @ directions


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_trains(name):
    """A few steps at a rate that can be seen: finite, and better than at the beginning."""
    recipe = presets.recipe(name, 64, rate=1e-2)
    x = planted(10_000)
    data = rows.from_arrays(x, None, 250, None, 0, hold_back=recipe.calibrates)
    made = train(data, {"main": recipe.trainee(data)})["main"]
    first = recipe.trainee(data).step(data.sample[0], data.sample[1], 0, 10_000)["mse"]
    left = (x - made(x)).square().mean() / x.var(0).mean()
    assert bool(torch.isfinite(made.directions).all())
    assert float(left) < max(1.0, first)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_says_where_it_comes_from(name):
    text = inspect.getdoc(import_module(f"{PACKAGE}.{name.replace('-', '_')}")) or ""
    assert "20" in text
    assert len(text) > 200
    assert name == "default" or "Not reproduced:" in text


def test_a_recipe_holds_what_was_published():
    found = presets.recipe("april-2024", 128)
    assert (found.architecture, found.schedule.rate, found.schedule.decay) == ("l1", 5e-5, 0.2)
    assert found.options["penalty"] == 5.0
    assert {n for n in presets.names() if presets.preset(n).options.get("beta2") == 0.999} == {
        "april-2024", "gemma-scope", "jumprelu-2025", "openai-topk-2024"
    }  # fmt: skip
    gemma = presets.preset("gemma-scope").options
    assert (gemma["beta1"], gemma["decoder_rate"], gemma["bias_rate"], gemma["threshold_rate"]) == (0.0, 1.0, 1.0, 1.0)
    assert presets.recipe("gemma-scope", 64).normalising.norm == "one"
    april = presets.recipe("april-2024", 64).trainee(
        rows.from_arrays(planted(2000), None, 250, None, 0, hold_back=False)
    )
    assert torch.allclose(april.dictionary.w_dec.norm(dim=1), torch.tensor(0.1))
    assert torch.equal(april.dictionary.w_enc, april.dictionary.w_dec) and not april.dictionary.b_enc.any()
    assert presets.recipe("towards-monosemanticity-2023", 64).normalising == Normalising(centre=False, scale=False)
    assert presets.preset("april_2024").batch_size == 4096
    assert presets.recipe("openai-topk-2024", 128).settings == {"k": 32}
    assert not found.calibrates  # the penalty is as published, so no L0 is aimed at
    changed = presets.recipe("april-2024", 128, l0=20, rate=1e-3)
    assert (changed.options["l0"], changed.schedule.rate, changed.calibrates) == (20, 1e-3, True)


def test_the_default_is_what_fit_does():
    defaults = {name: p.default for name, p in inspect.signature(fit.fit).parameters.items()}
    assert presets.recipe("default", 3072) == Recipe.of(defaults["architecture"], 3072, k=defaults["k"])
    assert presets.preset("default").batch_size is defaults["batch_size"] is None


def test_names_are_typed_with_dashes_and_a_misspelt_one_gets_the_nearest():
    assert "towards-monosemanticity-2023" in presets.names()
    assert [n.replace("-", "_") for n in presets.names()] == plugins.names(PACKAGE)
    with pytest.raises(MonoscopeError, match="did you mean 'april_2024'"):
        presets.recipe("april-2023", 8)
    with pytest.raises(MonoscopeError, match="no option 'penalti'"):
        presets.recipe("april-2024", 8, penalti=3)
